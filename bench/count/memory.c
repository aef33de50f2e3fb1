#include "memory.h"

void memoryUse(uint8_t *base);

void memoryUse(uint8_t *base) {
  memoryBase = base;
}
