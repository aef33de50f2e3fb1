// An HDR histogram with three significant digits over 1 ns … 4.29 s, laid out as src/host/knbench/histogram.ts does it:
// values below 2048 have a bucket each; from there on every power of two has 1024 buckets.

#ifndef LUNET_BENCH_HISTOGRAM_H
#define LUNET_BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { SUB_BITS = 10, SUB_COUNT = 1 << SUB_BITS, HISTOGRAM_LENGTH = (32 - SUB_BITS + 1) * SUB_COUNT };

struct histogram {
  uint32_t counts[HISTOGRAM_LENGTH];
};

static inline void histogram_record(struct histogram *histogram, uint64_t ns) {
  const uint32_t value = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
  const int shift = value < 2 * SUB_COUNT ? 0 : 31 - SUB_BITS - __builtin_clz(value);
  histogram->counts[(uint32_t)shift * SUB_COUNT + (value >> shift)]++;
}

/** Prints the buckets in use as a JSON array: lowest value and count in turn. */
static inline void histogram_print(const struct histogram *histogram) {
  const char *separator = "[";
  for (uint32_t i = 0; i < HISTOGRAM_LENGTH; i++) {
    if (histogram->counts[i] == 0) continue;
    const uint32_t shift = i < 2 * SUB_COUNT ? 0 : (i >> SUB_BITS) - 1;
    printf("%s%llu,%u", separator, (unsigned long long)(i - shift * SUB_COUNT) << shift, histogram->counts[i]);
    separator = ",";
  }
  printf("%s]", separator[0] == '[' ? "[" : "");
}

#endif
