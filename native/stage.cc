// Frames of the core as mbufs for the driver: borrowed where it takes chains, gathered into one where it does not.

#include <cstring>

#include "port.h"
#include "segment.h"

namespace lunet {

uint32_t Port::stageFrame(uint32_t tail, uint32_t head) {
  const Frame whole = frameAt(tail, head);
  const uint32_t segments = whole.segments;
  const uint32_t flags = whole.flags;
  if (segments == 0) return 0;
  if (unlikely(!whole.valid)) {
    counts_.txInvalid++;
    completeSegments(tail, segments);
    return segments;
  }
  const bool cut = (flags & TXF_TSO) != 0;
  const bool lend = multiSegment_ || (segments == 1 && lendsSingle_);
  rte_mbuf* frame = lend ? chain(tail, segments, cut) : gather(tail, segments, whole.bytes);
  if (unlikely(!frame)) {
    counts_.txNoSegment++;
    return 0;
  }
  if (flags & (TXF_IP_CSUM | TXF_TCP_CSUM)) {
    if (unlikely(!requestOffload(frame, flags, segmentAt(txRing_.entries, txRing_.mask, tail).headers))) {
      // Freeing it is its completion.
      rte_pktmbuf_free(frame);
      counts_.txInvalid++;
      return segments;
    }
  }
  stagedFrames_[staged_++] = frame;
  return segments;
}

/**
 * A chain of mbufs that borrow the segments' memory; each gives it back by itself. `copyHeaders`: all but the first, which is
 * copied, for a frame to be cut: rte_gso, by which net_tap does it, takes over that mbuf's flags into mbufs that own their data.
 */
rte_mbuf* Port::chain(uint32_t tail, uint32_t segments, bool copyHeaders) {
  rte_mbuf* parts[TX_TSO_MAX_SEGS];
  const uint32_t first = copyHeaders ? 1 : 0;
  if (rte_pktmbuf_alloc_bulk(segmentPool_, parts + first, segments - first) != 0) return nullptr;
  uint32_t bytes = 0;
  if (copyHeaders) {
    bytes = segmentAt(txRing_.entries, txRing_.mask, tail).len;
    parts[0] = gather(tail, 1, bytes);
    if (!parts[0]) {
      rte_pktmbuf_free_bulk(parts + 1, segments - 1);
      return nullptr;
    }
    parts[0]->next = segments > 1 ? parts[1] : nullptr;
  }
  for (uint32_t i = first; i < segments; i++) {
    const Segment segment = segmentAt(txRing_.entries, txRing_.mask, tail + i);
    rte_mbuf* part = parts[i];
    auto* own = static_cast<SegmentPrivate*>(rte_mbuf_to_priv(part));
    own->addr = segment.addr;
    rte_mbuf_ext_refcnt_set(&own->shared, 1);
    const uint32_t offset = segment.addr - zoneBase_;
    const uint64_t iova = zones_.iova(offset >> ZONE_SHIFT) + (offset & (ZONE_BYTES - 1));
    rte_pktmbuf_attach_extbuf(part, reinterpret_cast<void*>(delta_ + segment.addr), iova,
                              static_cast<uint16_t>(segment.len), &own->shared);
    part->data_len = static_cast<uint16_t>(segment.len);
    part->next = i + 1 < segments ? parts[i + 1] : nullptr;
    bytes += segment.len;
  }
  parts[0]->nb_segs = static_cast<uint16_t>(segments);
  parts[0]->pkt_len = bytes;
  inFlight_ += segments - first;
  return parts[0];
}

/** One mbuf of the receive pool with a copy of the frame: AF_XDP sends those from its UMEM without another copy. */
rte_mbuf* Port::gather(uint32_t tail, uint32_t segments, uint32_t bytes) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_.mempool());
  if (!frame) return nullptr;
  auto* to = rte_pktmbuf_mtod(frame, uint8_t*);
  for (uint32_t i = 0; i < segments; i++) {
    const Segment segment = segmentAt(txRing_.entries, txRing_.mask, tail + i);
    memcpy(to, reinterpret_cast<void*>(delta_ + segment.addr), segment.len);
    to += segment.len;
    // The first segment is the headers, and payload where it lies right behind them.
    if (i > 0) *linkCopiedBytes_ += segment.len;
    else if (const uint32_t headers = segment.headers.bytes(); headers != 0) *linkCopiedBytes_ += segment.len - headers;
    complete(segment.addr);
  }
  frame->data_len = static_cast<uint16_t>(bytes);
  frame->pkt_len = bytes;
  return frame;
}

/**
 * What the driver is to complete. False for headers that do not fit the frame's first segment. With TSO the driver also makes
 * the IPv4 headers of the segments anew, so their checksums are its business too (rte_mbuf_core.h).
 */
bool Port::requestOffload(rte_mbuf* frame, uint32_t flags, const Headers& headers) {
  if (!headers.fit(frame->data_len)) return false;
  frame->l2_len = headers.l2;
  frame->l3_len = headers.l3;
  frame->l4_len = headers.l4;
  auto* ip = rte_pktmbuf_mtod_offset(frame, rte_ipv4_hdr*, headers.l2);
  const bool v4 = ip->version_ihl >> 4 == 4;
  if (sumsInCopy_) {
    // A frame that does not go into the rings by the shim's own copy, which would have summed it.
    if (!v4 || flags & TXF_TSO) return false;
    const uint32_t l4 = headers.l2 + headers.l3;
    ChecksumSum sum;
    sum.add(rte_pktmbuf_mtod_offset(frame, uint8_t*, l4), frame->data_len - l4);
    for (const rte_mbuf* part = frame->next; part; part = part->next) sum.add(rte_pktmbuf_mtod(part, uint8_t*), part->data_len);
    rte_pktmbuf_mtod_offset(frame, rte_tcp_hdr*, l4)->cksum = static_cast<uint16_t>(~sum.folded());
    return true;
  }
  frame->ol_flags |= v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  if (flags & TXF_TSO) {
    const uint32_t mss = flags >> TXF_TSO_MSS_SHIFT;
    if (!tso() || !v4 || mss == 0 || headers.bytes() + mss > options_.frameBytes) return false;
    frame->tso_segsz = static_cast<uint16_t>(mss);
    frame->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IP_CKSUM;
    ip->hdr_checksum = 0;
    return true;
  }
  if (flags & TXF_IP_CSUM && v4) frame->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
  if (flags & TXF_TCP_CSUM) frame->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
  return true;
}

}  // namespace lunet
