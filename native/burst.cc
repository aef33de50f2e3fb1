// The hot path: one call per loop turn. It allocates nothing, calls nothing back and trusts no descriptor.

#include <rte_ether.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "port.h"
#include "segment.h"

namespace lunet {

namespace {

/** After so many turns in which the driver took nothing, ask whether anybody is there at all. */
constexpr uint32_t kRefusalsUntilLinkCheck = 64;

/**
 * memif: what one turn takes while the ring holds no more than a few times as much. The peer works on the answers to it while
 * the next are taken: with more at a time the two take turns, and each waits for the other.
 */
constexpr uint32_t kEnoughBytes = 16 * 1024;

inline uint32_t receiveFlags(uint64_t offload) {
  uint32_t flags = 0;
  if ((offload & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD) flags |= RXF_IP_CSUM_OK;
  if ((offload & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) flags |= RXF_L4_CSUM_OK;
  return flags;
}

}  // namespace

uint32_t Port::burst() {
  if (unlikely(!running_)) return 0;
  takeFreed();
  uint32_t frames = 0;
  if (likely(deviceStarted_)) {
    if (likely(quiesce::enter(slot_))) {
      if (unlikely(options_.memif && !ringsAreCurrent())) {
        ringsGeneration_ = quiesce::generation.load(std::memory_order_relaxed);
        rings_.refresh(*this);
      }
      if (staged_ != 0 || load(CTL_TX_HEAD) != load(CTL_TX_TAIL)) transmit();
      frames = receive();
      quiesce::leave(slot_);
    }
  } else {
    discardTransmit();
  }
  stampClock();
  return frames;
}

/** CLOCK_MONOTONIC through the vDSO: process.hrtime's timebase, and as cheap as the TSC made monotonic by hand. */
void Port::stampClock() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const double ns = static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
  memcpy(wasm_ + CTL_CLOCK_NS, &ns, sizeof ns);
}

void Port::takeFreed() {
  const uint32_t head = load(CTL_FREE_HEAD);
  uint32_t tail = load(CTL_FREE_TAIL);
  if (head == tail) return;
  // A head further ahead than the ring is long can only be a corrupt control block.
  if (unlikely(head - tail > freeRing_.size)) {
    counts_.freeInvalid++;
    store(CTL_FREE_TAIL, head);
    return;
  }
  const uint32_t poolBytes = pool_.stride() * pool_.count();
  void* batch[128];
  while (tail != head) {
    unsigned count = 0;
    while (tail != head && count < RTE_DIM(batch)) {
      uint32_t addr;
      memcpy(&addr, freeRing_.entries + static_cast<size_t>(tail++ & freeRing_.mask) * 4, 4);
      const uint32_t offset = addr - pool_.base();
      const uint32_t index = offset < poolBytes ? pool_.indexOf(addr) : 0;
      if (unlikely(offset >= poolBytes || index * pool_.stride() != offset || !lent_[index])) {
        counts_.freeInvalid++;
        continue;
      }
      lent_[index] = 0;
      batch[count++] = reinterpret_cast<void*>(delta_ + addr);
    }
    lentCount_ -= count;
    if (count != 0) rte_mempool_put_bulk(pool_.mempool(), batch, count);
  }
  store(CTL_FREE_TAIL, tail);
}

void Port::segmentFreed(void*, void* opaque) {
  auto* segment = static_cast<SegmentPrivate*>(opaque);
  Port* port = segment->port;
  // A driver may give segments back while the port closes, when the core is gone already.
  if (!port->wasm_) return;
  port->inFlight_--;
  port->complete(segment->addr);
}

void Port::completeSegments(uint32_t tail, uint32_t segments) {
  for (uint32_t i = 0; i < segments; i++) complete(segmentAt(txRing_.entries, txRing_.mask, tail + i).addr);
}

void Port::transmit() {
  const uint32_t head = load(CTL_TX_HEAD);
  uint32_t tail = load(CTL_TX_TAIL);
  if (unlikely(head - tail > txRing_.size)) {
    counts_.txInvalid++;
    store(CTL_TX_TAIL, head);
    return;
  }
  // What is staged for the driver goes first.
  if (rings_.attached() && staged_ == 0) {
    transmitIntoRings();
    return;
  }
  for (;;) {
    while (staged_ < kStaged && tail != head) {
      const uint32_t segments = stageFrame(tail, head);
      if (segments == 0) break;
      tail += segments;
    }
    if (staged_ == 0) break;
    const uint32_t sent = rte_eth_tx_burst(port_, 0, stagedFrames_, static_cast<uint16_t>(staged_));
    if (sent < staged_) {
      counts_.txRefused++;
      std::move(stagedFrames_ + sent, stagedFrames_ + staged_, stagedFrames_);
      staged_ -= sent;
      refusals_ = sent == 0 ? refusals_ + 1 : 0;
      if (refusals_ >= kRefusalsUntilLinkCheck) dropStagedWhenDown();
      break;
    }
    staged_ = 0;
    refusals_ = 0;
    if (tail == head) break;
  }
  store(CTL_TX_TAIL, tail);
}

/** What does not fit waits in the core's ring. */
void Port::transmitIntoRings() {
  const uint32_t head = load(CTL_TX_HEAD);
  uint32_t tail = load(CTL_TX_TAIL);
  rings_.beginSend();
  while (tail != head) {
    const Frame frame = frameAt(tail, head);
    if (frame.segments == 0) break;
    const Segment first = segmentAt(txRing_.entries, txRing_.mask, tail);
    const bool summed = (frame.flags & TXF_TCP_CSUM) != 0;
    if (likely(frame.valid && (!summed || memif::Rings::canSum(first)))) {
      bool whole = true;
      rings_.beginFrame(summed ? first.headers.l2 + first.headers.l3 : 0);
      for (uint32_t i = 0; whole && i < frame.segments; i++) {
        const Segment segment = segmentAt(txRing_.entries, txRing_.mask, tail + i);
        whole = rings_.append(reinterpret_cast<uint8_t*>(delta_ + segment.addr), segment.len);
      }
      if (unlikely(!whole)) {
        counts_.txRefused++;
        break;
      }
      rings_.finishFrame();
    } else {
      counts_.txInvalid++;
    }
    completeSegments(tail, frame.segments);
    tail += frame.segments;
  }
  rings_.endSend();
  store(CTL_TX_TAIL, tail);
}

/** A cable that is unplugged loses frames; it does not hold them until somebody plugs it in again. */
void Port::dropStagedWhenDown() {
  refusals_ = 0;
  if (linkUp()) return;
  counts_.txDropped += staged_;
  for (uint32_t i = 0; i < staged_; i++) rte_pktmbuf_free(stagedFrames_[i]);
  staged_ = 0;
  // The next frames find out at their first refusal.
  refusals_ = kRefusalsUntilLinkCheck - 1;
}

/** The device is stopped until its far end comes back. */
void Port::discardTransmit() {
  for (uint32_t i = 0; i < staged_; i++) rte_pktmbuf_free(stagedFrames_[i]);
  counts_.txDropped += staged_;
  staged_ = 0;
  const uint32_t head = load(CTL_TX_HEAD);
  uint32_t tail = load(CTL_TX_TAIL);
  while (tail != head && load(CTL_DONE_HEAD) - load(CTL_DONE_TAIL) + inFlight_ < doneRing_.size) {
    const Segment segment = segmentAt(txRing_.entries, txRing_.mask, tail++);
    if (segment.flags & TXF_END) counts_.txDropped++;
    complete(segment.addr);
  }
  store(CTL_TX_TAIL, tail);
}

Port::Frame Port::frameAt(uint32_t tail, uint32_t head) const {
  uint32_t segments = 0;
  uint64_t bytes = 0;
  bool whole = false;
  const uint32_t flags = segmentAt(txRing_.entries, txRing_.mask, tail).flags;
  const bool cut = (flags & TXF_TSO) != 0;
  const uint32_t mostSegments = cut ? TX_TSO_MAX_SEGS : TX_MAX_SEGS;
  bool valid = (flags & TXF_START) != 0;
  while (tail + segments != head && !whole) {
    const Segment segment = segmentAt(txRing_.entries, txRing_.mask, tail + segments);
    const uint64_t offset = segment.addr - zoneBase_;
    valid = valid && segment.len != 0 && segment.len <= UINT16_MAX && segment.addr >= zoneBase_ &&
            offset + segment.len <= zoneBytes_ && (segments == 0 || (segment.flags & TXF_START) == 0) &&
            (segments != 0 || segment.len <= options_.frameBytes);
    bytes += segment.len;
    segments++;
    whole = (segment.flags & TXF_END) != 0;
    // Longer than any frame may be: give up looking for its end.
    if (segments > mostSegments) {
      valid = false;
      whole = true;
    }
  }
  const uint32_t unclaimed = load(CTL_DONE_HEAD) - load(CTL_DONE_TAIL);
  if (!whole || unclaimed + inFlight_ + segments > doneRing_.size) return {};
  const uint64_t mostBytes = cut && tso() ? RTE_ETHER_HDR_LEN + UINT16_MAX : options_.frameBytes;
  return {segments, flags, static_cast<uint32_t>(bytes), valid && bytes <= mostBytes};
}

uint32_t Port::receive() {
  rte_mbuf* frames[kMaxBurst];
  const uint32_t received = rings_.attached() ? receiveFromRings(frames)
                                              : rte_eth_rx_burst(port_, 0, frames, static_cast<uint16_t>(rxLimit_));
  uint32_t written = 0;
  for (uint32_t i = 0; i < received; i++) {
    rte_mbuf* frame = frames[i];
    if (unlikely(frame->nb_segs > 1)) {
      frame = linearise(frame);
      if (!frame) continue;
    }
    const uint32_t object = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(frame) - delta_);
    lent_[pool_.indexOf(object)] = 1;
    const uint32_t addr = static_cast<uint32_t>(rte_pktmbuf_mtod(frame, uintptr_t) - delta_);
    const uint32_t len = frame->data_len;
    const uint32_t flags = options_.rxFlags | receiveFlags(frame->ol_flags);
    uint8_t* at = rxRing_.entries + static_cast<size_t>(written++) * RXD_SIZE;
    memcpy(at + RXD_ADDR, &addr, 4);
    memcpy(at + RXD_LEN, &len, 4);
    memcpy(at + RXD_FLAGS, &flags, 4);
  }
  lentCount_ += written;
  return written;
}

uint32_t Port::receiveFromRings(rte_mbuf** frames) {
  const bool verify = sumsInCopy_ && (load(CFG_FLAGS) & CFGF_RX_TRUST) == 0;
  const auto received = rings_.receive(pool_.mempool(), frames, {rxLimit_, kEnoughBytes, options_.frameBytes}, verify);
  counts_.rxTooLong += received.tooLong;
  counts_.rxInvalid += received.invalid;
  return received.frames;
}

/** The core takes frames of one piece. A peer that splits them costs a copy, which is counted. */
rte_mbuf* Port::linearise(rte_mbuf* frame) {
  const uint32_t bytes = frame->pkt_len;
  rte_mbuf* whole = bytes <= options_.frameBytes ? rte_pktmbuf_alloc(pool_.mempool()) : nullptr;
  if (whole) {
    auto* to = rte_pktmbuf_mtod(whole, uint8_t*);
    for (rte_mbuf* part = frame; part; part = part->next) {
      memcpy(to, rte_pktmbuf_mtod(part, void*), part->data_len);
      to += part->data_len;
    }
    whole->data_len = static_cast<uint16_t>(bytes);
    whole->pkt_len = bytes;
    whole->ol_flags = frame->ol_flags;
    counts_.rxLinearised++;
    counts_.rxLinearisedBytes += bytes;
    *linkCopiedBytes_ += bytes;
  } else {
    counts_.rxTooLong++;
  }
  rte_pktmbuf_free(frame);
  return whole;
}

}  // namespace lunet
