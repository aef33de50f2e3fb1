#include "zones.h"

#include <rte_errno.h>
#include <rte_memory.h>
#include <sys/mman.h>

#include "eal.h"

namespace lunet {

namespace {

constexpr size_t kSmallPage = 4096;
constexpr const char* kMoreHugepages = "Try: echo 512 > /proc/sys/vm/nr_hugepages, or fewer zones";

}  // namespace

Outcome Zones::place(const Request& request) {
  const uintptr_t wasm = reinterpret_cast<uintptr_t>(request.wasmBase);
  const uintptr_t first = (wasm + request.arenaEnd + ZONE_BYTES - 1) & ~static_cast<uintptr_t>(ZONE_BYTES - 1);
  const uint64_t end = first - wasm + static_cast<uint64_t>(request.count) * ZONE_BYTES;
  if (request.count == 0 || end > request.wasmBytes) {
    return Failure{"ERR_LUNET_MEMORY_TOO_SMALL",
                   "the WebAssembly memory has " + std::to_string(request.wasmBytes) + " bytes, zones need " +
                       std::to_string(end) + ". Allow 2 MiB for alignment beside the zones themselves"};
  }
  wasmBase_ = request.wasmBase;
  base_ = static_cast<uint32_t>(first - wasm);
  count_ = request.count;

  // The core's tables lie below the zones.
  adviseHugepages(wasmBase_, request.wasmBytes);
  Outcome failure;
  if (eal::hugepages()) {
    failure = alias(request);
  } else {
    delta_ = wasm;
    void* at = request.wasmBase + base_;
    if (rte_extmem_register(at, bytes(), nullptr, 0, kSmallPage) != 0) {
      failure = failed("DPDK does not accept the WebAssembly memory", rte_errno);
    } else {
      registered_ = true;
      for (uint32_t i = 0; i < count_; i++) iova_.push_back(wasm + base_ + static_cast<uint64_t>(i) * ZONE_BYTES);
    }
  }
  if (failure) release();
  return failure;
}

Outcome Zones::alias(const Request& request) {
  const unsigned flags = eal::iovaIsVa() ? 0 : RTE_MEMZONE_IOVA_CONTIG;
  memzone_ = rte_memzone_reserve_aligned(request.name.c_str(), bytes(), SOCKET_ID_ANY, flags, ZONE_BYTES);
  if (!memzone_) {
    const unsigned free = eal::freeHugepages();
    Failure failure = failed("no " + std::to_string(count_) + " contiguous hugepages (" + std::to_string(free) + " free)",
                             rte_errno, kMoreHugepages);
    failure.code = "ERR_LUNET_NO_HUGEPAGES";
    return failure;
  }
  delta_ = reinterpret_cast<uintptr_t>(memzone_->addr) - base_;
  for (uint32_t i = 0; i < count_; i++) {
    uint8_t* page = static_cast<uint8_t*>(memzone_->addr) + static_cast<size_t>(i) * ZONE_BYTES;
    const rte_memseg* segment = rte_mem_virt2memseg(page, nullptr);
    size_t offset = 0;
    int fd = -1;
    if (segment && segment->hugepage_sz == ZONE_BYTES) fd = rte_memseg_get_fd(segment);
    if (fd < 0 || rte_memseg_get_fd_offset(segment, &offset) != 0) {
      return failed("a hugepage of the zones has no file behind it", rte_errno,
                    "Only hugepages of 2 MiB can be laid over WebAssembly memory");
    }
    offset += page - static_cast<uint8_t*>(segment->addr);
    uint8_t* target = wasmBase_ + base_ + static_cast<size_t>(i) * ZONE_BYTES;
    if (mmap(target, ZONE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset)) ==
        MAP_FAILED) {
      return failed("a hugepage cannot be laid over the WebAssembly memory", errno, kMoreHugepages);
    }
    aliasedCount_ = i + 1;
    iova_.push_back(rte_mem_virt2iova(page));
  }
  return {};
}

bool Zones::adviseHugepages(uint8_t* at, size_t bytes) { return madvise(at, bytes, MADV_HUGEPAGE) == 0; }

void Zones::release() {
  // Wasm code may still be called: its pages stay mapped at every moment, MAP_FIXED replaces them in one step.
  while (aliasedCount_ > 0) {
    uint8_t* target = wasmBase_ + base_ + static_cast<size_t>(--aliasedCount_) * ZONE_BYTES;
    mmap(target, ZONE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  if (registered_) rte_extmem_unregister(wasmBase_ + base_, bytes());
  if (memzone_) rte_memzone_free(memzone_);
  registered_ = false;
  memzone_ = nullptr;
  count_ = 0;
  iova_.clear();
}

}  // namespace lunet
