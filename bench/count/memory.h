/* Where the loads and stores of wasm2c's output go; the build step puts memoryAt() into its macros. */
#ifndef LUNET_COUNT_MEMORY_H
#define LUNET_COUNT_MEMORY_H

#include <stdint.h>

/* Linear memory of the core that runs. The whole program is compiled with -ffixed-r15, so that nothing else uses it. */
register uint8_t *memoryBase asm("r15");

#ifdef NOTE_ADDRESSES
void noteAddress(uint32_t at, uint32_t bytes, int stores);
#else
static inline void noteAddress(uint32_t at, uint32_t bytes, int stores) {
  (void)at, (void)bytes, (void)stores;
}
#endif

static inline uint8_t *memoryAt(uint64_t at, uint32_t bytes, int stores) {
  noteAddress((uint32_t)at, bytes, stores);
  return memoryBase + at;
}

#endif
