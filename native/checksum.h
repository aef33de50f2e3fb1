// The Internet checksum (RFC 1071), of bytes where they lie or while they are copied.
#pragma once

#include <cstdint>

namespace lunet {

/** A one's complement sum of 16-bit words in memory's order, over pieces that follow one another. */
class ChecksumSum {
 public:
  /** Adds a piece. */
  void add(const uint8_t* from, uint32_t bytes);
  /** Whether take() is no slower than a copy alone. */
  static bool takesForFree();
  /** Copies a piece that another core has written to where this one last wrote, and adds what has arrived. */
  void take(uint8_t* to, const uint8_t* from, uint32_t bytes);
  /** Copies a piece to where another core last read or wrote, and adds it. */
  void copy(uint8_t* to, const uint8_t* from, uint32_t bytes);
  /** The same past the cache, but for the ends: a fence must follow before the copy is told of. Returns the bytes that went past. */
  uint32_t copyPastCache(uint8_t* to, const uint8_t* from, uint32_t bytes);
  /** Adds a number that is 16-bit words in memory's order, beside the pieces. */
  void addWords(uint64_t words) { total_ += (words & UINT32_MAX) + (words >> 32); }

  /** The sum, folded: 0xffff over bytes that hold their checksum. */
  uint16_t folded() const;

 private:
  void append(uint64_t sum, uint32_t bytes);

  uint64_t total_ = 0;
  bool odd_ = false;
};

}  // namespace lunet
