// Descriptors of the core's TX ring.
#pragma once

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "layout.h"

namespace lunet {

/** TXD_OFFLOAD of a TCP frame's first segment: bytes of the headers at its beginning. Payload may follow them in it. */
struct Headers {
  uint32_t l2;
  uint32_t l3;
  uint32_t l4;

  explicit Headers(uint32_t lengths) : l2(lengths & 0xff), l3(lengths >> 8 & 0xff), l4(lengths >> 16 & 0xff) {}
  uint32_t bytes() const { return l2 + l3 + l4; }
  /** Whether they are at least what TCP on IPv4 needs, and in a segment of `segmentBytes`. */
  bool fit(uint32_t segmentBytes) const {
    return l2 >= RTE_ETHER_HDR_LEN && l3 >= sizeof(rte_ipv4_hdr) && l4 >= sizeof(rte_tcp_hdr) && bytes() <= segmentBytes;
  }
};

struct Segment {
  uint32_t addr;
  uint32_t len;
  uint32_t flags;
  Headers headers;
};

inline Segment segmentAt(const uint8_t* entries, uint32_t mask, uint32_t index) {
  const uint8_t* at = entries + static_cast<size_t>(index & mask) * TXD_SIZE;
  const auto word = [at](uint32_t field) {
    uint32_t value;
    memcpy(&value, at + field, 4);
    return value;
  };
  return {word(TXD_ADDR), word(TXD_LEN), word(TXD_FLAGS), Headers(word(TXD_OFFLOAD))};
}

}  // namespace lunet
