// How far away the peer's core is: what it costs to read a word that the peer has just written. Between cores that share a
// cache that is tens of nanoseconds, between others well over a hundred; a virtual machine's cores move from one to the other.
#pragma once

#include <rte_cycles.h>

#include <algorithm>
#include <cstdint>

#ifdef __SSE2__
#include <x86intrin.h>
#endif

namespace lunet::memif {

class Distance {
 public:
  /** Learns how fast this machine's clock counts: not before EAL has started. */
  void begin() {
#ifdef __SSE2__
    farTicks_ = static_cast<uint64_t>(kFarNs * static_cast<double>(rte_get_tsc_hz()) / 1e9);
#endif
  }

  /** Whether the peer's core was found to share no cache with this one. */
  bool isFar() const { return far_; }

  /** Reads the peer's index by `read`, and takes the time of some of the reads. */
  template <typename Read>
  uint16_t sample(Read read) {
    uint16_t index;
#ifdef __SSE2__
    if (++reads_ % kEvery == 0) {
      const uint64_t before = ticks();
      index = read();
      const uint64_t taken = ticks() - before;
      // An index that has not moved is in this core's cache.
      if (index != latest_) judge(taken > farTicks_);
    } else {
      index = read();
    }
#else
    index = read();
#endif
    latest_ = index;
    return index;
  }

 private:
#ifdef __SSE2__
  static constexpr uint32_t kEvery = 16;
  static constexpr double kFarNs = 95;
  static constexpr int kMostVotes = 32;

  static uint64_t ticks() {
    _mm_lfence();
    const uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
  }

  void judge(bool far) {
    votes_ = std::clamp(votes_ + (far ? 1 : -1), 0, kMostVotes);
    if (votes_ == 0) far_ = false;
    else if (votes_ == kMostVotes) far_ = true;
  }

  uint64_t farTicks_ = 0;
  uint32_t reads_ = 0;
  int votes_ = 0;
#endif
  uint16_t latest_ = 0;
  bool far_ = false;
};

}  // namespace lunet::memif
