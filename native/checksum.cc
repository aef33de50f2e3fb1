#include "checksum.h"

#include <cstddef>
#include <cstring>

namespace lunet {

namespace {

uint16_t fold(uint64_t sum) {
  sum = (sum & UINT32_MAX) + (sum >> 32);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  return static_cast<uint16_t>((sum & UINT16_MAX) + (sum >> 16));
}

/**
 * The sum of the words' 32-bit halves: of the words as they are, which may overflow, 2^32 times what their upper halves sum up
 * to is too much. Written for the compiler to make vectors of.
 */
#ifdef __x86_64__
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t sumWords(const uint8_t* from, size_t words) {
  uint64_t all = 0;
  uint64_t upper = 0;
  for (size_t i = 0; i < words; i++) {
    uint64_t word;
    memcpy(&word, from + 8 * i, 8);
    all += word;
    upper += word >> 32;
  }
  return all - (upper << 32) + upper;
}

}  // namespace

void ChecksumSum::add(const uint8_t* from, uint32_t bytes) {
  const size_t words = bytes / 8;
  uint64_t rest = 0;
  memcpy(&rest, from + 8 * words, bytes % 8);
  uint64_t sum = sumWords(from, words) + (rest & UINT32_MAX) + (rest >> 32);
  if (odd_) {
    const uint16_t folded = fold(sum);
    sum = static_cast<uint16_t>(folded << 8 | folded >> 8);
  }
  total_ += sum;
  if (bytes & 1) odd_ = !odd_;
}

uint16_t ChecksumSum::folded() const { return fold(total_); }

}  // namespace lunet
