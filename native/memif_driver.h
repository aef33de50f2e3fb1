// What the shim knows of memif beyond DPDK's interface: the shared memory as the protocol lays it out, and where DPDK 22.11
// keeps a queue. Whatever is read here is checked before it is believed.
#pragma once

#include <rte_interrupts.h>

#include <cstddef>
#include <cstdint>

namespace lunet {

class Port;

namespace memif {

/** One buffer of a ring, or a part of a frame when `flags` says that the next one goes on. */
struct Descriptor {
  uint16_t flags;
  uint16_t region;
  uint32_t length;
  uint32_t offset;
  uint32_t metadata;
};
static_assert(sizeof(Descriptor) == 16, "memif protocol");
constexpr uint16_t kNext = 1;

/**
 * A ring. From client to server (C2S) the client moves `head` past what it has filled, the server `tail` past what it has
 * read. From server to client (S2C) the client moves `head` past what it has emptied, the server `tail` past what it has filled.
 */
struct Ring {
  uint32_t cookie;
  uint16_t flags;
  uint16_t head;
  uint8_t unused0[56];
  uint16_t tail;
  uint8_t unused1[62];
  Descriptor descriptors[];
};
static_assert(offsetof(Ring, tail) == 64 && offsetof(Ring, descriptors) == 128, "memif protocol");
constexpr uint32_t kCookie = 0x3E31F20;
/** In a ring's flags: whoever fills it need not signal. */
constexpr uint16_t kMaskInterrupt = 1;

/** A queue of the driver as DPDK 22.11 keeps it. */
struct DriverQueue {
  void* mempool;
  void* device;
  /** 0: C2S, 1: S2C */
  uint32_t type;
  uint16_t region;
  uint16_t port;
  uint32_t ringOffset;
  uint16_t lastHead;
  uint16_t lastTail;
  void* buffers;
  uint64_t packets;
  uint64_t bytes;
  rte_intr_handle* interrupt;
  uint8_t log2RingSize;

  bool fromClient() const { return type == 0; }
};
static_assert(offsetof(DriverQueue, interrupt) == 0x38, "layout of DPDK 22.11");

/** The queues of a port, null where they are not what is expected. */
DriverQueue* receiveQueue(const Port& port);
DriverQueue* transmitQueue(const Port& port);

/** The region of a connected port that holds its rings, and its buffers too unless the client is a zero-copy one. */
struct Region {
  uint8_t* at = nullptr;
  size_t bytes = 0;
};

/** Looks for it among what this process has mapped; without an address when it could be any of several. */
Region findRegion(const DriverQueue& queue);

}  // namespace memif
}  // namespace lunet
