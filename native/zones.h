// The zones: 2 MiB pages that are at once DPDK memory and WebAssembly linear memory.
#pragma once

#include <rte_memzone.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "layout.h"

namespace lunet {

/**
 *   virtual:   wasmBase            wasmBase + zoneBase (2 MiB aligned)
 *              ├─ core's memory ───┼─ zone 0 ─┼─ zone 1 ─┼ … ┤
 *                                  ║ same physical pages
 *   DPDK:                          ├─ memzone ────────────────┤      address = linear + delta
 */
class Zones {
 public:
  struct Request {
    uint8_t* wasmBase;
    size_t wasmBytes;
    /** Lowest linear address a zone may have. */
    uint32_t arenaEnd;
    uint32_t count;
    std::string name;
  };

  Zones() = default;
  Zones(const Zones&) = delete;
  Zones& operator=(const Zones&) = delete;
  ~Zones() { release(); }

  /** Takes hugepages and lays them over the Wasm memory; without hugepages, uses the Wasm memory itself. */
  Outcome place(const Request& request);
  /**
   * Asks the kernel to back `bytes` at `at` with transparent hugepages as they are first touched. Advice: where the kernel has
   * none, nothing changes. Returns whether it was accepted.
   */
  static bool adviseHugepages(uint8_t* at, size_t bytes);

  /** Puts ordinary zeroed memory back where the zones were and returns the hugepages. */
  void release();

  bool placed() const { return count_ != 0; }
  bool aliased() const { return memzone_ != nullptr; }
  uint32_t base() const { return base_; }
  uint32_t count() const { return count_; }
  uint64_t bytes() const { return static_cast<uint64_t>(count_) * ZONE_BYTES; }
  /** DPDK virtual address minus linear address. */
  uintptr_t delta() const { return delta_; }
  uint8_t* at(uint32_t linear) const { return reinterpret_cast<uint8_t*>(delta_ + linear); }
  /** IO address of zone `index`. */
  uint64_t iova(uint32_t index) const { return iova_[index]; }

 private:
  Outcome alias(const Request& request);

  const rte_memzone* memzone_ = nullptr;
  uint8_t* wasmBase_ = nullptr;
  uint32_t base_ = 0;
  uint32_t count_ = 0;
  uint32_t aliasedCount_ = 0;
  uintptr_t delta_ = 0;
  bool registered_ = false;
  std::vector<uint64_t> iova_;
};

}  // namespace lunet
