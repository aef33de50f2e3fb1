// Copies by whole cache lines.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace lunet {

constexpr uint32_t kLine = 64;

/** A piece of memory at `to`: its whole cache lines, and what is before and behind them. */
struct Lines {
  uint32_t before;
  uint32_t bytes;
  uint32_t behind;

  Lines(const uint8_t* to, uint32_t length) {
    const auto ragged = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(to) & (kLine - 1));
    before = ragged < length ? ragged : length;
    bytes = (length - before) & ~(kLine - 1);
    behind = length - before - bytes;
  }
  uint32_t end() const { return before + bytes; }
};

/** Copies past the cache, but for the ends; a fence must follow before the copy is told of. Returns the bytes that went past. */
inline uint32_t copyPastCache(uint8_t* to, const uint8_t* from, uint32_t bytes) {
#ifdef __SSE2__
  const Lines lines(to, bytes);
  memcpy(to, from, lines.before);
  for (uint32_t at = lines.before; at < lines.end(); at += kLine) {
    const auto* source = reinterpret_cast<const __m128i*>(from + at);
    auto* target = reinterpret_cast<__m128i*>(to + at);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
  memcpy(to + lines.end(), from + lines.end(), lines.behind);
  return lines.bytes;
#else
  memcpy(to, from, bytes);
  return 0;
#endif
}

inline void fencePastCache() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace lunet
