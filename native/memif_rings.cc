#include "memif_rings.h"

#include <rte_branch_prediction.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "lines.h"
#include "port.h"

namespace lunet::memif {

namespace {

constexpr uint32_t kPage = 4096;
/** Shorter pieces, headers above all, are sooner in the peer's hands through the cache. */
constexpr uint32_t kLeastStreamedBytes = 512;
/** The part of what is in the ring that is taken at once when it is more than enough. */
constexpr uint32_t kShare = 3;
/** What a slot holds at least: Ethernet's, IPv4's and TCP's header are in one piece. */
constexpr uint32_t kLeastSlotBytes = 64;
constexpr uint32_t kTcp = sizeof(rte_ether_hdr) + sizeof(rte_ipv4_hdr);

uint16_t acquire(const uint16_t& index) { return __atomic_load_n(&index, __ATOMIC_ACQUIRE); }
void release(uint16_t& index, uint16_t value) { __atomic_store_n(&index, value, __ATOMIC_RELEASE); }

/** A copy that the peer cannot change any more. */
Descriptor snapshot(const Descriptor& shared) {
  Descriptor own;
  own.flags = __atomic_load_n(&shared.flags, __ATOMIC_RELAXED);
  own.region = __atomic_load_n(&shared.region, __ATOMIC_RELAXED);
  own.length = __atomic_load_n(&shared.length, __ATOMIC_RELAXED);
  own.offset = __atomic_load_n(&shared.offset, __ATOMIC_RELAXED);
  return own;
}

bool within(const Region& region, const Descriptor& descriptor) {
  return descriptor.region == 0 && static_cast<uint64_t>(descriptor.offset) + descriptor.length <= region.bytes;
}

/**
 * Whether a frame is TCP on IPv4 without options, whole, without padding, and its checksum is right. `sum`: all of it. False
 * says nothing: the core looks for itself.
 */
bool tcpSumIsRight(const uint8_t* frame, uint32_t bytes, ChecksumSum sum) {
  rte_ether_hdr ethernet;
  rte_ipv4_hdr ip;
  memcpy(&ethernet, frame, sizeof ethernet);
  memcpy(&ip, frame + sizeof ethernet, sizeof ip);
  if (ethernet.ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || ip.version_ihl != RTE_IPV4_VHL_DEF || ip.next_proto_id != IPPROTO_TCP ||
      (ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0 ||
      ip.total_length != rte_cpu_to_be_16(static_cast<uint16_t>(bytes - sizeof ethernet))) {
    return false;
  }
  ChecksumSum headers;
  headers.add(frame, kTcp);
  sum.addWords(static_cast<uint16_t>(~headers.folded()));
  // The pseudo-header: RFC 9293 §3.1.
  sum.addWords(static_cast<uint64_t>(ip.src_addr) + ip.dst_addr);
  sum.addWords(static_cast<uint64_t>(rte_cpu_to_be_16(static_cast<uint16_t>(bytes - kTcp))) + RTE_BE16(IPPROTO_TCP));
  return sum.folded() == 0xffff;
}

}  // namespace

void Rings::detach() {
  receive_ = {};
  transmit_ = {};
}

Rings::Side Rings::sideOf(DriverQueue* queue) const {
  constexpr unsigned kMaxLog2Size = 14;
  if (!queue || queue->region != 0 || queue->log2RingSize == 0 || queue->log2RingSize > kMaxLog2Size) return {};
  const uint32_t size = 1u << queue->log2RingSize;
  const uint64_t end = static_cast<uint64_t>(queue->ringOffset) + sizeof(Ring) + static_cast<uint64_t>(size) * sizeof(Descriptor);
  // A zero-copy client has its buffers elsewhere: its first region ends with the rings, at the end of a page.
  if (queue->ringOffset % kLine != 0 || end + kPage > region_.bytes) return {};
  auto* ring = reinterpret_cast<Ring*>(region_.at + queue->ringOffset);
  if (ring->cookie != kCookie) return {};
  return {queue, ring, size};
}

void Rings::refresh(const Port& port) {
  detach();
  receiveRing_ = 0;
  DriverQueue* receive = port.linkUp() ? receiveQueue(port) : nullptr;
  if (!receive) return;
  region_ = findRegion(*receive);
  if (!region_.at) return;
  receiveRing_ = reinterpret_cast<uintptr_t>(region_.at) + receive->ringOffset;
  DriverQueue* transmit = transmitQueue(port);
  if (Port::memifPorts() != 1 || !transmit || receive->type == transmit->type) return;
  distance_.begin();
  receive_ = sideOf(receive);
  transmit_ = sideOf(transmit);
  bool usable = receive_.ring && transmit_.ring;
  if (usable && transmit->fromClient()) {
    slotBytes_ = transmit_.at(1).offset - transmit_.at(0).offset;
    usable = slotBytes_ >= kLeastSlotBytes && slotBytes_ <= UINT16_MAX;
  }
  if (!usable) detach();
}

Rings::Received Rings::receive(rte_mempool* pool, rte_mbuf** frames, const Limits& limits, bool verify) {
  Received result;
  const bool summing = verify || ChecksumSum::takesForFree();
  const Side side = receive_;
  DriverQueue& queue = *side.queue;
  const bool fromClient = queue.fromClient();
  const uint16_t begin = fromClient ? queue.lastHead : queue.lastTail;
  const uint16_t& filled = fromClient ? side.ring->head : side.ring->tail;
  const uint16_t end = distance_.sample([&filled] { return acquire(filled); });
  const uint16_t pending = static_cast<uint16_t>(end - begin);
  uint16_t taken = 0;
  uint32_t total = 0;
  if (likely(pending <= side.size)) {
    const uint32_t share = pending / kShare;
    while (taken < pending && result.frames < limits.frames && (total < limits.enoughBytes || result.frames < share)) {
      rte_mbuf* frame = rte_pktmbuf_alloc(pool);
      if (unlikely(!frame)) break;
      auto* to = rte_pktmbuf_mtod(frame, uint8_t*);
      uint32_t bytes = 0;
      uint16_t slots = 0;
      bool valid = true;
      bool fits = true;
      bool more = true;
      ChecksumSum sum;
      while (more && taken + slots < pending) {
        const Descriptor descriptor = snapshot(side.at(static_cast<uint16_t>(begin + taken + slots)));
        slots++;
        more = (descriptor.flags & kNext) != 0;
        valid = valid && within(region_, descriptor);
        fits = fits && valid && descriptor.length <= limits.frameBytes - bytes;
        if (unlikely(!fits)) continue;
        const uint8_t* from = region_.at + descriptor.offset;
        if (summing) sum.take(to + bytes, from, descriptor.length);
        else memcpy(to + bytes, from, descriptor.length);
        bytes += descriptor.length;
      }
      taken = static_cast<uint16_t>(taken + slots);
      if (unlikely(more || !fits || bytes == 0)) {
        rte_pktmbuf_free(frame);
        if (valid && !fits) result.tooLong++;
        else result.invalid++;
        continue;
      }
      frame->data_len = static_cast<uint16_t>(bytes);
      frame->pkt_len = bytes;
      frame->port = queue.port;
      if (verify && bytes > kTcp && tcpSumIsRight(to, bytes, sum)) frame->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
      frames[result.frames++] = frame;
      total += bytes;
    }
  }
  const auto now = static_cast<uint16_t>(begin + taken);
  if (fromClient) {
    queue.lastHead = now;
    if (taken != 0) release(side.ring->tail, now);
  } else {
    queue.lastTail = now;
    const auto head = static_cast<uint16_t>(now + side.size);
    uint16_t empty = side.ring->head;
    // A connection's first turn offers the whole ring.
    if (empty != head && static_cast<uint16_t>(head - empty) <= side.size) {
      for (; empty != head; empty++) side.at(empty).length = slotBytes_;
      release(side.ring->head, head);
    }
  }
  queue.packets += result.frames;
  queue.bytes += total;
  return result;
}

bool Rings::canSum(const Segment& first) {
  return first.headers.fit(first.len) && first.headers.l2 + first.headers.l3 + sizeof(rte_tcp_hdr) <= kLeastSlotBytes;
}

void Rings::beginSend() {
  const Ring& ring = *transmit_.ring;
  const bool fromClient = transmit_.queue->fromClient();
  firstSlot_ = fromClient ? ring.head : ring.tail;
  slot_ = firstSlot_;
  const uint32_t free = fromClient ? transmit_.size - static_cast<uint16_t>(slot_ - acquire(ring.tail))
                                   : static_cast<uint16_t>(acquire(ring.head) - slot_);
  free_ = free <= transmit_.size ? static_cast<uint16_t>(free) : 0;
  // A single frame is waited for, and comes sooner out of a cache, however far; several are limited by what passes in a second.
  const bool several = frames_ > 1;
  pastCache_ = stream_ == Stream::kAlways || (stream_ == Stream::kFar && several && distance_.isFar());
  bytes_ = 0;
  frames_ = 0;
}

void Rings::beginFrame(uint32_t tcp) {
  tcp_ = tcp;
  checksumAt_ = nullptr;
  sum_ = {};
  used_ = 0;
  descriptor_ = nullptr;
  room_ = 0;
  filled_ = 0;
}

bool Rings::nextSlot() {
  if (used_ == free_) return false;
  if (descriptor_) {
    descriptor_->flags = kNext;
    descriptor_->length = filled_;
  }
  descriptor_ = &transmit_.at(static_cast<uint16_t>(slot_ + used_));
  Descriptor own = snapshot(*descriptor_);
  if (transmit_.queue->fromClient()) own.length = slotBytes_;
  // A peer that offers what is not there, or no room for headers, gets nothing.
  if (unlikely(own.length < kLeastSlotBytes || !within(region_, own))) return false;
  used_++;
  to_ = region_.at + own.offset;
  room_ = own.length;
  filled_ = 0;
  return true;
}

bool Rings::append(const uint8_t* from, uint32_t bytes) {
  while (bytes != 0) {
    if (room_ == 0 && !nextSlot()) return false;
    const uint32_t part = std::min(bytes, room_);
    uint8_t* to = to_ + filled_;
    const bool pastCache = pastCache_ && part >= kLeastStreamedBytes;
    if (tcp_ != 0) {
      uint32_t unsummed = 0;
      if (!checksumAt_) {
        unsummed = tcp_;
        checksumAt_ = to + tcp_ + offsetof(rte_tcp_hdr, cksum);
        memcpy(to, from, unsummed);
      }
      if (pastCache) pastCacheBytes_ += sum_.copyPastCache(to + unsummed, from + unsummed, part - unsummed);
      else sum_.copy(to + unsummed, from + unsummed, part - unsummed);
    } else if (pastCache) {
      pastCacheBytes_ += copyPastCache(to, from, part);
    } else {
      memcpy(to, from, part);
    }
    filled_ += part;
    room_ -= part;
    from += part;
    bytes -= part;
    bytes_ += part;
  }
  return true;
}

void Rings::finishFrame() {
  if (checksumAt_) {
    const auto checksum = static_cast<uint16_t>(~sum_.folded());
    memcpy(checksumAt_, &checksum, sizeof checksum);
  }
  descriptor_->flags = 0;
  descriptor_->length = filled_;
  slot_ = static_cast<uint16_t>(slot_ + used_);
  free_ = static_cast<uint16_t>(free_ - used_);
  frames_++;
}

void Rings::endSend() {
  if (slot_ == firstSlot_) return;
  Ring& ring = *transmit_.ring;
  DriverQueue& queue = *transmit_.queue;
  if (pastCache_) fencePastCache();
  release(queue.fromClient() ? ring.head : ring.tail, slot_);
  queue.packets += frames_;
  queue.bytes += bytes_;
  const int fd = rte_intr_fd_get(queue.interrupt);
  if (fd >= 0 && (__atomic_load_n(&ring.flags, __ATOMIC_RELAXED) & kMaskInterrupt) == 0) {
    const uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0) return;
  }
}

uint32_t Rings::unread() const {
  if (!attached()) return 0;
  const Ring& ring = *transmit_.ring;
  if (transmit_.queue->fromClient()) return static_cast<uint16_t>(ring.head - acquire(ring.tail));
  // The client offers a slot again when it has read it.
  return transmit_.size - static_cast<uint16_t>(acquire(ring.head) - ring.tail);
}

}  // namespace lunet::memif
