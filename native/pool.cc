#include "pool.h"

#include <rte_errno.h>

#include <algorithm>

#include "eal.h"

namespace lunet {

namespace {

constexpr uint32_t kLine = RTE_CACHE_LINE_SIZE;
/** Recently freed buffers are taken first, so that a quiet link works in cache. */
constexpr unsigned kCachedObjects = 512;

uint32_t roundUp(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

struct SegmentInit {
  Port* port;
  rte_mbuf_extbuf_free_callback_t freed;
};

void initSegment(rte_mempool*, void* opaque, void* object, unsigned) {
  auto* init = static_cast<SegmentInit*>(opaque);
  auto* segment = static_cast<SegmentPrivate*>(rte_mbuf_to_priv(static_cast<rte_mbuf*>(object)));
  segment->shared.free_cb = init->freed;
  segment->shared.fcb_opaque = segment;
  segment->port = init->port;
  segment->addr = 0;
}

}  // namespace

Outcome RxPool::create(const Zones& zones, const Request& request) {
  // No object may be split by a gap (the driver's UMEM and the core both compute addresses from the stride), so pages
  // are not respected. With physical IO addresses the memzone is contiguous as a whole.
  unsigned flags = RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG | RTE_MEMPOOL_F_SP_PUT | RTE_MEMPOOL_F_SC_GET;
  uint32_t room = roundUp(RTE_PKTMBUF_HEADROOM + request.driverHeadroom + request.frameBytes, kLine);
  rte_mempool_objsz sizes;
  auto measure = [&] { return rte_mempool_calc_obj_size(sizeof(rte_mbuf) + room, flags, &sizes); };
  uint32_t total = measure();
  // An odd number of cache lines spreads the objects' first lines over all sets of the cache.
  if (total / kLine % 2 == 0 && (request.maxObjectBytes == 0 || total + kLine <= request.maxObjectBytes)) {
    room += kLine;
    total = measure();
  }
  if (request.maxObjectBytes != 0 && total > request.maxObjectBytes) {
    return Failure{"ERR_LUNET_MTU", "a frame of " + std::to_string(request.frameBytes) +
                                        " bytes does not fit this driver's buffers of " +
                                        std::to_string(request.maxObjectBytes) + ". Try a smaller mtu"};
  }
  const uint64_t bytes = static_cast<uint64_t>(request.zones) * ZONE_BYTES;
  const unsigned count = static_cast<unsigned>(bytes / total);
  if (count < request.minObjects) {
    const uint64_t need = (static_cast<uint64_t>(request.minObjects) * total + ZONE_BYTES - 1) / ZONE_BYTES;
    return Failure{"ERR_LUNET_RX_ZONES", std::to_string(request.zones) + " receive zones hold " + std::to_string(count) +
                                             " frames, this driver needs " + std::to_string(request.minObjects) +
                                             ". Use rxZones: " + std::to_string(need)};
  }
  const unsigned cache = std::min(kCachedObjects, count / 4);
  mempool_ = rte_mempool_create_empty(request.name.c_str(), count, sizeof(rte_mbuf) + room, cache,
                                      sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
  if (!mempool_) return failed("no memory for the receive pool", rte_errno);
  Outcome failure;
  int result = rte_mempool_set_ops_byname(mempool_, "ring_sp_sc", nullptr);
  if (result != 0) {
    failure = failed("the receive pool has no ring", result);
  } else {
    rte_pktmbuf_pool_private settings = {};
    settings.mbuf_data_room_size = static_cast<uint16_t>(room);
    rte_pktmbuf_pool_init(mempool_, &settings);
    char* start = reinterpret_cast<char*>(zones.at(zones.base()));
    result = rte_mempool_populate_iova(mempool_, start, zones.iova(0), bytes, nullptr, nullptr);
    if (result < 0 || mempool_->populated_size != count) {
      failure = failed("the receive pool was not filled", result < 0 ? result : ENOMEM);
    }
  }
  if (failure) {
    release();
    return failure;
  }
  rte_mempool_obj_iter(mempool_, rte_pktmbuf_init, nullptr);
  stride_ = total;
  count_ = count;
  base_ = zones.base() + sizes.header_size;
  reciprocal_ = ((1ull << kShift) + stride_ - 1) / stride_;
  return {};
}

void RxPool::release() {
  if (mempool_) rte_mempool_free(mempool_);
  mempool_ = nullptr;
}

Outcome createSegmentPool(const std::string& name, unsigned count, Port* port, rte_mbuf_extbuf_free_callback_t freed,
                          rte_mempool** pool) {
  const uint16_t privateBytes = RTE_ALIGN(sizeof(SegmentPrivate), RTE_MBUF_PRIV_ALIGN);
  *pool = rte_pktmbuf_pool_create_by_ops(name.c_str(), count, kCachedObjects, privateBytes, 0, SOCKET_ID_ANY, "ring_sp_sc");
  if (!*pool) return failed("no memory for transmit segments", rte_errno, "Reserve more hugepages");
  SegmentInit init{port, freed};
  rte_mempool_obj_iter(*pool, initSegment, &init);
  return {};
}

}  // namespace lunet
