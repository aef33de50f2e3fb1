// One DPDK port with one queue pair, joined to one core's rings. Used by one thread.
#pragma once

#include <rte_ethdev.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "layout.h"
#include "memif_rings.h"
#include "pool.h"
#include "quiesce.h"
#include "segment.h"
#include "xdp.h"
#include "zones.h"

namespace lunet {

struct PortOptions {
  /** PMD name, e.g. net_memif; empty for a PCI device. */
  std::string driver;
  /** devargs of the virtual device. */
  std::string args;
  /** PCI address; empty for a virtual device. */
  std::string pci;
  /** memif server: the socket file this port creates. */
  std::string socketPath;
  /** AF_XDP: the interface the program is attached to. */
  std::string xdpInterface;
  bool memif = false;
  memif::Stream stream = memif::Stream::kFar;
  /** The driver takes chains of segments although it does not say so. */
  bool forceMultiSegment = false;
  /** Checksum offload in both directions, and TSO, are used where the driver has them. */
  bool checksums = false;
  bool tso = false;
  bool requireHugepages = false;
  bool forbidHugepages = false;
  uint32_t pages = 0;
  uint32_t frameBytes = 0;
  uint32_t driverHeadroom = 0;
  uint32_t maxObjectBytes = 0;
  uint32_t minObjects = 0;
  uint32_t burst = 32;
  uint16_t rxDescriptors = 0;
  uint16_t txDescriptors = 0;
  /** MTU to set on the device; 0 leaves it alone. */
  uint16_t setMtu = 0;
  /** TAP: the kernel's interface, whose MTU is `setMtu` also where the driver is told of a larger one. */
  std::string tapInterface;
  /** RXF_… every received frame carries. */
  uint32_t rxFlags = 0;
};

/** What the port did beside the driver's own statistics. */
struct PortCounts {
  uint64_t txInvalid = 0;
  uint64_t txDropped = 0;
  uint64_t txRefused = 0;
  uint64_t txNoSegment = 0;
  uint64_t rxLinearised = 0;
  uint64_t rxLinearisedBytes = 0;
  uint64_t rxTooLong = 0;
  uint64_t rxInvalid = 0;
  uint64_t freeInvalid = 0;
};

class Port {
 public:
  explicit Port(PortOptions options) : options_(std::move(options)), rings_(options_.stream) {}
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port();

  /** Starts EAL if need be and creates the device. */
  Outcome open();
  Outcome attach(const Zones::Request& request, uint32_t rxZones);
  /** Sets up the queues and starts the device. A memif client whose server is absent stays down: see reconnect(). */
  Outcome start();
  /** memif client: tries again. True when the device started; the link comes up a little later. */
  bool reconnect();
  bool linkUp() const;
  void close();

  /** One turn of the loop; see burst.cc. Returns the frames received. */
  uint32_t burst();

  bool isOpen() const { return opened_; }
  bool isRunning() const { return running_; }
  /** Frames the driver has not taken yet. */
  bool hasBacklog() const { return staged_ != 0; }
  uint16_t id() const { return port_; }
  const PortOptions& options() const { return options_; }
  const rte_eth_dev_info& info() const { return info_; }
  bool multiSegment() const { return multiSegment_; }
  bool txChecksum() const { return sumsInCopy_ || (txOffloads_ & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0; }
  /** TCP's checksums (IPv4) are filled in and verified by the shim, with its copies of the frames. */
  bool sumsInCopy() const { return sumsInCopy_; }
  bool rxChecksum() const { return (rxOffloads_ & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0; }
  bool tso() const { return (txOffloads_ & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0; }
  const Zones& zones() const { return zones_; }
  const RxPool& pool() const { return pool_; }
  const PortCounts& counts() const { return counts_; }
  /** Receive objects the core holds. */
  uint32_t lent() const { return lentCount_; }
  XdpProgram* xdp() const { return xdp_.get(); }
  /** File descriptors the driver opened when the device was made, and when its queues were set up. */
  const std::vector<int>& deviceFds() const { return deviceFds_; }
  const std::vector<int>& queueFds() const { return queueFds_; }
  /** The driver's receive queue, as the driver keeps it. */
  void* driverRxQueue() const { return rte_eth_fp_ops[port_].rxq.data[0]; }
  void* driverTxQueue() const { return rte_eth_fp_ops[port_].txq.data[0]; }
  /** memif: nothing has happened to the connection since a burst looked for its rings. */
  bool ringsAreCurrent() const { return ringsGeneration_ == quiesce::generation.load(std::memory_order_relaxed); }
  /** memif: address of the receive ring, 0 when it was not found. */
  uintptr_t receiveRing() const { return rings_.receiveRing(); }
  /** Open memif ports of this process: of several it is not known whose a ring is. */
  static unsigned memifPorts();
  /** memif: slots of frames the peer has not read yet; 0 where that is not known. */
  uint32_t unread() const;
  /** memif: bytes written past the cache. */
  uint64_t pastCacheBytes() const { return rings_.pastCacheBytes(); }

  /** rte_mbuf_extbuf_free_callback_t of segment mbufs: the driver is done with a segment. */
  static void segmentFreed(void* addr, void* opaque);

 private:
  static constexpr uint32_t kStaged = 64;
  static constexpr uint32_t kMaxBurst = 512;

  struct Ring {
    uint8_t* entries = nullptr;
    uint32_t size = 0;
    uint32_t mask = 0;
  };

  uint32_t load(uint32_t field) const {
    return __atomic_load_n(reinterpret_cast<uint32_t*>(wasm_ + field), __ATOMIC_RELAXED);
  }
  void store(uint32_t field, uint32_t value) {
    __atomic_store_n(reinterpret_cast<uint32_t*>(wasm_ + field), value, __ATOMIC_RELAXED);
  }
  Outcome ring(const char* name, uint32_t atField, uint32_t sizeField, uint32_t entryBytes, Ring* ring);
  Outcome readRings();
  void negotiateOffloads();
  Outcome configure();
  Outcome setMtu();
  int setUpReceiveQueue(const rte_eth_conf& conf, uint16_t descriptors);

  void takeFreed();
  void transmit();
  void transmitIntoRings();
  /** The frame whose first segment is at ring index `tail`. */
  struct Frame {
    /** 0: it must wait. */
    uint32_t segments;
    uint32_t flags;
    uint32_t bytes;
    bool valid;
  };
  Frame frameAt(uint32_t tail, uint32_t head) const;
  /** Stages the frame whose first segment is at ring index `tail`. Returns its segments, 0 when it must wait. */
  uint32_t stageFrame(uint32_t tail, uint32_t head);
  rte_mbuf* chain(uint32_t tail, uint32_t segments, bool copyHeaders);
  rte_mbuf* gather(uint32_t tail, uint32_t segments, uint32_t bytes);
  bool requestOffload(rte_mbuf* frame, uint32_t flags, const Headers& headers);
  void completeSegments(uint32_t tail, uint32_t segments);
  void complete(uint32_t addr) {
    const uint32_t head = load(CTL_DONE_HEAD);
    memcpy(doneRing_.entries + static_cast<size_t>(head & doneRing_.mask) * 4, &addr, 4);
    store(CTL_DONE_HEAD, head + 1);
  }
  void dropStagedWhenDown();
  void discardTransmit();
  uint32_t receive();
  uint32_t receiveFromRings(rte_mbuf** frames);
  rte_mbuf* linearise(rte_mbuf* frame);
  void stampClock();

  PortOptions options_;
  std::string name_;
  bool opened_ = false;
  bool configured_ = false;
  bool running_ = false;
  bool deviceStarted_ = false;
  uint16_t port_ = 0;
  rte_eth_dev_info info_ = {};
  uint64_t txOffloads_ = 0;
  uint64_t rxOffloads_ = 0;
  bool sumsInCopy_ = false;
  bool multiSegment_ = false;
  /** A frame of one segment goes to the driver where it lies. AF_XDP sends only what lies in its UMEM, the receive pool. */
  bool lendsSingle_ = false;
  std::vector<int> deviceFds_;
  std::vector<int> queueFds_;
  std::unique_ptr<XdpProgram> xdp_;

  // Hot: everything a burst touches.
  quiesce::Slot* slot_ = nullptr;
  uint8_t* wasm_ = nullptr;
  Ring rxRing_;
  Ring txRing_;
  Ring doneRing_;
  Ring freeRing_;
  uint64_t* linkCopiedBytes_ = nullptr;
  uint32_t zoneBase_ = 0;
  uint64_t zoneBytes_ = 0;
  uintptr_t delta_ = 0;
  uint32_t rxLimit_ = 0;
  memif::Rings rings_;
  uint32_t ringsGeneration_ = 0;
  /** Segments taken from the ring whose completion is not pushed yet. */
  uint32_t inFlight_ = 0;
  uint32_t staged_ = 0;
  uint32_t refusals_ = 0;
  rte_mbuf* stagedFrames_[kStaged] = {};
  std::vector<uint8_t> lent_;
  uint32_t lentCount_ = 0;
  PortCounts counts_;

  Zones zones_;
  RxPool::Request poolRequest_ = {};
  RxPool pool_;
  rte_mempool* segmentPool_ = nullptr;
};

}  // namespace lunet
