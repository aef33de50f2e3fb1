// Buffers: the receive pool inside the zones, and the segment pool that describes transmit data lying in them.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <string>

#include "error.h"
#include "zones.h"

namespace lunet {

/** Objects `base + i * stride`, each an mbuf followed by its data room, without gaps over all receive zones. */
class RxPool {
 public:
  RxPool() = default;
  RxPool(const RxPool&) = delete;
  RxPool& operator=(const RxPool&) = delete;
  ~RxPool() { release(); }

  struct Request {
    std::string name;
    uint32_t zones;
    /** Bytes a frame may have. */
    uint32_t frameBytes;
    /** Extra headroom the driver takes out of the data room (XDP_PACKET_HEADROOM). */
    uint32_t driverHeadroom;
    /** Largest object the driver takes; 0 for any. */
    uint32_t maxObjectBytes;
    /** Objects the driver itself keeps busy. */
    uint32_t minObjects;
  };

  Outcome create(const Zones& zones, const Request& request);
  void release();

  rte_mempool* mempool() const { return mempool_; }
  uint32_t base() const { return base_; }
  uint32_t stride() const { return stride_; }
  uint32_t count() const { return count_; }

  /** Index of the object at linear address `at`, which lies in the pool. */
  uint32_t indexOf(uint32_t at) const {
    return static_cast<uint32_t>((static_cast<uint64_t>(at - base_) * reciprocal_) >> kShift);
  }

 private:
  // offset < 2^31 and stride < 2^16 keep the product below 2^64 and the quotient exact for offset * stride < 2^kShift.
  static constexpr unsigned kShift = 44;

  rte_mempool* mempool_ = nullptr;
  uint32_t base_ = 0;
  uint32_t stride_ = 0;
  uint32_t count_ = 0;
  uint64_t reciprocal_ = 0;
};

class Port;

/** Private area of a segment mbuf: which memory it lends to the driver. */
struct SegmentPrivate {
  rte_mbuf_ext_shared_info shared;
  Port* port;
  uint32_t addr;
};

/** mbufs without data of their own. `freed` runs when the driver is done with a segment; its opaque is SegmentPrivate. */
Outcome createSegmentPool(const std::string& name, unsigned count, Port* port, rte_mbuf_extbuf_free_callback_t freed,
                          rte_mempool** pool);

}  // namespace lunet
