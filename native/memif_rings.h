// The data path of memif: frames between the shared rings and lunet's own memory, in place of DPDK's burst functions.
//
//   core's TX ring ──▶ slots of a ring ──▶ receive objects
//
// The driver connects, disconnects and owns everything; it stays in charge wherever the rings are not as expected (two memif
// links in one process, a zero-copy client, another version of DPDK). Its queues' state is kept up to date, so either may
// take over from the other between two bursts.
//
// Why not the driver's functions: they copy through the cache, and a line that another core has written comes over much
// slower than memory does when the two share no cache. They also believe every offset and length the peer writes.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "checksum.h"
#include "memif_distance.h"
#include "memif_driver.h"
#include "segment.h"

namespace lunet::memif {

/** When frames are written past the cache; by default several at a time, while the peer's core shares none with this one. */
enum class Stream { kFar, kNever, kAlways };

class Rings {
 public:
  explicit Rings(Stream stream) : stream_(stream) {}

  /** Finds the rings of a port that is connected, or lets go of them. Between two control handlers, not under one. */
  void refresh(const Port& port);
  bool attached() const { return receive_.ring != nullptr; }
  /** Address of the receive ring as of refresh(), whoever moves the frames; 0 where it is not known. */
  uintptr_t receiveRing() const { return receiveRing_; }

  struct Received {
    uint32_t frames = 0;
    uint32_t tooLong = 0;
    uint32_t invalid = 0;
  };
  struct Limits {
    uint32_t frames;
    /** No frame after the one that fills so many, but a share of what is in the ring at least. */
    uint32_t enoughBytes;
    uint32_t frameBytes;
  };
  /** Each frame is in one piece. `verify`: TCP's checksums (IPv4) are, and what is right is marked so. */
  Received receive(rte_mempool* pool, rte_mbuf** frames, const Limits& limits, bool verify);

  /** Whether the TCP checksum of a frame that begins so can be filled in on the way. */
  static bool canSum(const Segment& first);
  /** Around the frames of one burst. */
  void beginSend();
  void endSend();
  /**
   * Begins a frame; then append() for each piece, then finishFrame(). `tcp`: where its TCP header is, whose checksum is to be
   * filled in and holds the pseudo-header's sum, and which the first piece has whole; 0 for none.
   */
  void beginFrame(uint32_t tcp);
  /** False when the ring has no room for the frame: nothing of it is sent. */
  bool append(const uint8_t* from, uint32_t bytes);
  void finishFrame();

  /** Frames' slots the peer has not read yet. */
  uint32_t unread() const;
  /** Bytes written past the cache. */
  uint64_t pastCacheBytes() const { return pastCacheBytes_; }

 private:
  struct Side {
    DriverQueue* queue = nullptr;
    Ring* ring = nullptr;
    uint32_t size = 0;

    Descriptor& at(uint16_t index) const { return ring->descriptors[index & (size - 1)]; }
  };

  Side sideOf(DriverQueue* queue) const;
  void detach();
  bool nextSlot();

  const Stream stream_;
  Distance distance_;
  uint64_t pastCacheBytes_ = 0;
  Region region_;
  uintptr_t receiveRing_ = 0;
  Side receive_;
  Side transmit_;
  /** Bytes of a slot, as the client divided the region. */
  uint32_t slotBytes_ = 0;

  // The burst being sent, and the frame in it.
  bool pastCache_ = false;
  uint16_t slot_ = 0;
  uint16_t firstSlot_ = 0;
  uint16_t free_ = 0;
  uint16_t used_ = 0;
  uint64_t bytes_ = 0;
  Descriptor* descriptor_ = nullptr;
  uint8_t* to_ = nullptr;
  uint32_t room_ = 0;
  uint32_t filled_ = 0;
  uint32_t frames_ = 0;
  /** Where the frame's TCP header begins, and its checksum in the ring once that is known. */
  uint32_t tcp_ = 0;
  uint8_t* checksumAt_ = nullptr;
  ChecksumSum sum_;
};

}  // namespace lunet::memif
