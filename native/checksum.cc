#include "checksum.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "lines.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace lunet {

namespace {

uint16_t fold(uint64_t sum) {
  sum = (sum & UINT32_MAX) + (sum >> 32);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  return static_cast<uint16_t>((sum & UINT16_MAX) + (sum >> 16));
}

/** The sum of the halves of 64-bit words: of the words themselves, which overflow, and of their upper halves alone. */
uint64_t sumOfHalves(uint64_t words, uint64_t upper) { return words - (upper << 32) + upper; }

/** Written for the compiler to make vectors of. */
#ifdef __x86_64__
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t sumWords(const uint8_t* from, size_t count) {
  uint64_t words = 0;
  uint64_t upper = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t word;
    memcpy(&word, from + 8 * i, 8);
    words += word;
    upper += word >> 32;
  }
  return sumOfHalves(words, upper);
}

#ifdef __x86_64__
/**
 * A vector is a whole cache line: more of the lines that another core has are under way at a time than with shorter ones, so
 * summing them costs nothing. With VBMI2 came the processors that do not slow down for 512 bits.
 */
const bool kWideVectors = !getenv("LUNET_NO_AVX512") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2");

template <bool kPastCache>
__attribute__((target("avx512f,avx512bw"))) uint64_t copyWide(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  __m512i words = _mm512_setzero_si512();
  __m512i upper = _mm512_setzero_si512();
  for (; bytes >= kLine; bytes -= kLine) {
    const __m512i line = _mm512_loadu_si512(from);
    if (kPastCache) _mm512_stream_si512(reinterpret_cast<__m512i*>(to), line);
    else _mm512_storeu_si512(to, line);
    words = _mm512_add_epi64(words, line);
    upper = _mm512_add_epi64(upper, _mm512_srli_epi64(line, 32));
    from += kLine;
    to += kLine;
  }
  const __mmask64 rest = (uint64_t{1} << bytes) - 1;
  const __m512i line = _mm512_maskz_loadu_epi8(rest, from);
  _mm512_mask_storeu_epi8(to, rest, line);
  words = _mm512_add_epi64(words, line);
  upper = _mm512_add_epi64(upper, _mm512_srli_epi64(line, 32));
  return sumOfHalves(_mm512_reduce_add_epi64(words), _mm512_reduce_add_epi64(upper));
}
#else
constexpr bool kWideVectors = false;

template <bool kPastCache>
uint64_t copyWide(uint8_t*, const uint8_t*, uint32_t) {
  return 0;
}
#endif

}  // namespace

void ChecksumSum::append(uint64_t sum, uint32_t bytes) {
  if (odd_) {
    const uint16_t folded = fold(sum);
    sum = static_cast<uint16_t>(folded << 8 | folded >> 8);
  }
  addWords(sum);
  if (bytes & 1) odd_ = !odd_;
}

void ChecksumSum::add(const uint8_t* from, uint32_t bytes) {
  const size_t words = bytes / 8;
  uint64_t rest = 0;
  memcpy(&rest, from + 8 * words, bytes % 8);
  append(sumWords(from, words) + (rest & UINT32_MAX) + (rest >> 32), bytes);
}

bool ChecksumSum::takesForFree() { return kWideVectors; }

void ChecksumSum::take(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  if (kWideVectors) {
    append(copyWide<false>(to, from, bytes), bytes);
    return;
  }
  memcpy(to, from, bytes);
  add(to, bytes);
}

void ChecksumSum::copy(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  memcpy(to, from, bytes);
  add(from, bytes);
}

uint32_t ChecksumSum::copyPastCache(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  if (!kWideVectors) {
    add(from, bytes);
    return lunet::copyPastCache(to, from, bytes);
  }
  const Lines lines(to, bytes);
  append(copyWide<false>(to, from, lines.before), lines.before);
  append(copyWide<true>(to + lines.before, from + lines.before, bytes - lines.before), bytes - lines.before);
  return lines.bytes;
}

uint16_t ChecksumSum::folded() const { return fold(total_); }

}  // namespace lunet
