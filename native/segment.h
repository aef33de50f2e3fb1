// Descriptors of the core's TX ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "layout.h"

namespace lunet {

struct Segment {
  uint32_t addr;
  uint32_t len;
  uint32_t flags;
  uint32_t offload;

  /** Bytes of headers at its beginning, when it is a TCP frame's first: payload may follow them in the same segment. */
  uint32_t headers() const { return (offload & 0xff) + ((offload >> 8) & 0xff) + ((offload >> 16) & 0xff); }
};

inline Segment segmentAt(const uint8_t* entries, uint32_t mask, uint32_t index) {
  const uint8_t* at = entries + static_cast<size_t>(index & mask) * TXD_SIZE;
  Segment segment;
  memcpy(&segment.addr, at + TXD_ADDR, 4);
  memcpy(&segment.len, at + TXD_LEN, 4);
  memcpy(&segment.flags, at + TXD_FLAGS, 4);
  memcpy(&segment.offload, at + TXD_OFFLOAD, 4);
  return segment;
}

inline uint32_t offloadAt(const uint8_t* entries, uint32_t mask, uint32_t index) {
  uint32_t lengths;
  memcpy(&lengths, entries + static_cast<size_t>(index & mask) * TXD_SIZE + TXD_OFFLOAD, 4);
  return lengths;
}

}  // namespace lunet
