// Keeps drivers' control handlers and bursts apart.
//
// A memif peer that goes away is noticed by EAL's interrupt thread, whose handler unmaps the rings at once, whatever a
// data thread is doing with them: it dies of SIGSEGV in the middle of a copy. DPDK leaves the locking to nobody. Here
// the handlers of all drivers run between bursts: the shim stands in front of DPDK's functions that register them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace lunet::quiesce {

/** Puts the shim's registration functions before DPDK's for drivers loaded from now on. Called before EAL starts. */
void install();

/** A data thread's sign that it is in a burst. */
struct alignas(64) Slot {
  std::atomic<uint32_t> busy{0};
  std::atomic<bool> taken{false};
};

/** A free slot, null when all are taken. */
Slot* takeSlot();
void releaseSlot(Slot* slot);

/** A control handler waits to run or runs. */
extern std::atomic<bool> controlActive;
/** Changes whenever a control handler has run, or a device was started or stopped. */
extern std::atomic<uint32_t> generation;
/** Without membarrier(2) the data side pays for the fence. */
extern bool fenceInBurst;

/** Enters a burst. False while a control handler runs: the burst is skipped. */
inline bool enter(Slot* slot) {
  slot->busy.store(1, std::memory_order_relaxed);
  // The handler's side makes this ordering hold for us, see Exclusive.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (__builtin_expect(fenceInBurst, 0)) std::atomic_thread_fence(std::memory_order_seq_cst);
  if (__builtin_expect(!controlActive.load(std::memory_order_relaxed), 1)) return true;
  slot->busy.store(0, std::memory_order_release);
  return false;
}

inline void leave(Slot* slot) { slot->busy.store(0, std::memory_order_release); }

/** While one exists, no burst and no other Exclusive runs. */
class Exclusive {
 public:
  Exclusive();
  ~Exclusive();
  /**
   * For a thread that starts or stops a device. Drivers that wait for their handler's end while they stop must not be
   * stopped under one, so only those that need it are: memif, which waits for nothing.
   */
  static std::unique_ptr<Exclusive> when(bool needed) { return needed ? std::make_unique<Exclusive>() : nullptr; }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;
};

}  // namespace lunet::quiesce
