// The Internet checksum (RFC 1071).
#pragma once

#include <cstdint>

namespace lunet {

/** A one's complement sum of 16-bit words in memory's order, over pieces that follow one another. */
class ChecksumSum {
 public:
  /** Adds a piece. */
  void add(const uint8_t* from, uint32_t bytes);
  /** Adds a number that is 16-bit words in memory's order, beside the pieces. */
  void addWords(uint64_t words) { total_ += (words & UINT32_MAX) + (words >> 32); }

  /** The sum, folded: 0xffff over bytes that hold their checksum. */
  uint16_t folded() const;

 private:
  uint64_t total_ = 0;
  bool odd_ = false;
};

}  // namespace lunet
