#include "port.h"

#include <dirent.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "eal.h"
#include "iface.h"
#include "memif.h"
#include "residue.h"
#include "xdp.h"

namespace lunet {

namespace {

/** Segments the driver may hold at a time; more wait in the core's ring. */
constexpr unsigned kSegments = 8191;
/** How often, and how far apart, a receive queue is asked for. */
constexpr unsigned kQueueTries = 100;
constexpr unsigned kQueueRetryUs = 5000;
constexpr uint64_t kChecksumOffloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
constexpr uint64_t kRxChecksumOffloads = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

std::atomic<unsigned> openMemifPorts{0};

std::string uniqueName(const std::string& driver) {
  static std::atomic<unsigned> next{0};
  return driver + "_lunet" + std::to_string(next++);
}

std::vector<int> openFds() {
  std::vector<int> fds;
  DIR* dir = opendir("/proc/self/fd");
  if (!dir) return fds;
  while (const dirent* entry = readdir(dir)) {
    const int fd = atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(dir)) fds.push_back(fd);
  }
  closedir(dir);
  std::sort(fds.begin(), fds.end());
  return fds;
}

std::vector<int> openedSince(const std::vector<int>& before) {
  const std::vector<int> now = openFds();
  std::vector<int> opened;
  std::set_difference(now.begin(), now.end(), before.begin(), before.end(), std::back_inserter(opened));
  return opened;
}

/** net_af_xdp forgets to close the socket that its UMEM was registered with, which keeps the queue taken. */
void closeXdpSockets(const std::vector<int>& fds) {
  for (const int fd : fds) {
    int domain = 0;
    socklen_t bytes = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_XDP) ::close(fd);
  }
}

}  // namespace

Port::~Port() { close(); }

uint32_t Port::unread() const {
  // As a burst does: the peer may go, and its rings be unmapped, at any moment.
  if (!running_ || !quiesce::enter(slot_)) return 0;
  const uint32_t slots = ringsAreCurrent() ? rings_.unread() : 0;
  quiesce::leave(slot_);
  return slots;
}

unsigned Port::memifPorts() { return openMemifPorts.load(std::memory_order_relaxed); }

Outcome Port::open() {
  std::lock_guard guard(eal::lock());
  eal::Options settings;
  settings.requireHugepages = options_.requireHugepages;
  settings.forbidHugepages = options_.forbidHugepages;
  settings.pages = options_.pages;
  settings.pci = options_.pci;
  if (Outcome failure = eal::start(settings)) return failure;
  if (Outcome failure = eal::adoptThread()) return failure;
  slot_ = quiesce::takeSlot();
  if (!slot_) return Failure{"ERR_LUNET_TOO_MANY_LINKS", "this process has too many links open. Close some first"};
  if (!options_.socketPath.empty()) {
    if (Outcome failure = memif::clearStaleSocket(options_.socketPath)) return failure;
  }
  if (!options_.xdpInterface.empty()) {
    xdp_ = std::make_unique<XdpProgram>(options_.xdpInterface);
    if (Outcome failure = xdp_->clearStale()) return failure;
  }

  eal::takeLog();
  const std::vector<int> fdsBefore = openFds();
  int result;
  if (options_.pci.empty()) {
    name_ = uniqueName(options_.driver);
    result = rte_eal_hotplug_add("vdev", name_.c_str(), options_.args.c_str());
  } else {
    name_ = options_.pci;
    // The device may have been found when EAL started.
    result = rte_eth_dev_get_port_by_name(name_.c_str(), &port_) == 0 ? 0 : rte_eal_hotplug_add("pci", name_.c_str(), "");
  }
  if (result != 0) {
    const char* hint = options_.pci.empty() ? "" : "Bind the device to vfio-pci first (dpdk-devbind.py -b vfio-pci ADDRESS)";
    return failed(options_.driver + " did not accept " + (options_.pci.empty() ? options_.args : options_.pci), result, hint);
  }
  opened_ = true;
  if (options_.memif) openMemifPorts++;
  deviceFds_ = openedSince(fdsBefore);
  if (!options_.socketPath.empty()) residue::addFile(options_.socketPath);
  result = rte_eth_dev_get_port_by_name(name_.c_str(), &port_);
  if (result == 0) result = rte_eth_dev_info_get(port_, &info_);
  if (result != 0) {
    Failure failure = failed(name_ + " has no port", result);
    close();
    return failure;
  }
  multiSegment_ = options_.forceMultiSegment || (info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
  lendsSingle_ = options_.xdpInterface.empty();
  if (info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) txOffloads_ |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  negotiateOffloads();
  return {};
}

/**
 * TSO makes the driver fill in the checksums of what it cuts, of chains only: it comes with both or not at all. A TAP device
 * has it when its MTU may be larger than ours: see setMtu().
 */
void Port::negotiateOffloads() {
  if (!options_.checksums) return;
  sumsInCopy_ = options_.memif;
  rxOffloads_ = info_.rx_offload_capa & kRxChecksumOffloads;
  if ((info_.tx_offload_capa & kChecksumOffloads) != kChecksumOffloads) return;
  txOffloads_ |= kChecksumOffloads;
  const uint32_t tapFrame = options_.setMtu + 2 * RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  if (!options_.tapInterface.empty() && tapFrame > info_.max_rx_pktlen) return;
  if (options_.tso && multiSegment_) txOffloads_ |= info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO;
}

Outcome Port::attach(const Zones::Request& request, uint32_t rxZones) {
  std::lock_guard guard(eal::lock());
  eal::takeLog();
  Zones::Request zones = request;
  zones.name = name_ + "_zones";
  if (Outcome failure = zones_.place(zones)) return failure;
  poolRequest_.name = "lunet_rx" + std::to_string(port_);
  poolRequest_.zones = rxZones;
  poolRequest_.frameBytes = options_.frameBytes;
  poolRequest_.driverHeadroom = options_.driverHeadroom;
  poolRequest_.maxObjectBytes = options_.maxObjectBytes;
  poolRequest_.minObjects = options_.minObjects;
  Outcome failure = pool_.create(zones_, poolRequest_);
  if (!failure && (multiSegment_ || lendsSingle_)) {
    failure = createSegmentPool("lunet_tx" + std::to_string(port_), kSegments, this, segmentFreed, &segmentPool_);
  }
  if (failure) {
    pool_.release();
    zones_.release();
    return failure;
  }
  lent_.assign(pool_.count(), 0);
  zoneBase_ = zones_.base();
  zoneBytes_ = zones_.bytes();
  delta_ = zones_.delta();
  wasm_ = request.wasmBase;
  return {};
}

Outcome Port::ring(const char* name, uint32_t atField, uint32_t sizeField, uint32_t entryBytes, Ring* ring) {
  const uint32_t at = load(atField);
  const uint32_t size = load(sizeField);
  // The rings lie in the core's arena, below the zones.
  if (at == 0 || size == 0 || (size & (size - 1)) != 0 || at + static_cast<uint64_t>(size) * entryBytes > zoneBase_) {
    return Failure{"ERR_LUNET_RINGS", std::string("the ") + name + " ring is not set up. Initialise the core before start()"};
  }
  ring->entries = wasm_ + at;
  ring->size = size;
  ring->mask = size - 1;
  return {};
}

Outcome Port::readRings() {
  if (Outcome failure = ring("receive", CTL_RX_AT, CTL_RX_SIZE, RXD_SIZE, &rxRing_)) return failure;
  if (Outcome failure = ring("transmit", CTL_TX_AT, CTL_TX_SIZE, TXD_SIZE, &txRing_)) return failure;
  if (Outcome failure = ring("completion", CTL_DONE_AT, CTL_DONE_SIZE, 4, &doneRing_)) return failure;
  if (Outcome failure = ring("free", CTL_FREE_AT, CTL_FREE_SIZE, 4, &freeRing_)) return failure;
  const uint32_t counters = load(CTL_COUNTERS_AT);
  if (counters == 0 || counters % 8 != 0 || counters + static_cast<uint64_t>(CNT_COUNT) * 8 > zoneBase_) {
    return Failure{"ERR_LUNET_RINGS", "the counters are not set up. Initialise the core before start()"};
  }
  linkCopiedBytes_ = reinterpret_cast<uint64_t*>(wasm_ + counters) + CNT_LinkCopiedBytes;
  rxLimit_ = std::min({options_.burst, rxRing_.size, kMaxBurst});
  return {};
}

/**
 * The kernel lets go of an AF_XDP queue some milliseconds after its socket has been closed: one that is still taken is
 * tried again for a while. A failed try leaves the driver with used-up rings and buffers that it does not give back, so
 * each has a fresh device, and a fresh pool in the same place.
 */
int Port::setUpReceiveQueue(const rte_eth_conf& conf, uint16_t descriptors) {
  const auto setUp = [&] {
    return rte_eth_rx_queue_setup(port_, 0, descriptors, rte_eth_dev_socket_id(port_), nullptr, pool_.mempool());
  };
  int result = setUp();
  for (unsigned tries = 0; result != 0 && xdp_ && tries < kQueueTries; tries++) {
    rte_eal_hotplug_remove("vdev", name_.c_str());
    opened_ = false;
    usleep(kQueueRetryUs);
    pool_.release();
    if (pool_.create(zones_, poolRequest_)) return -ENOMEM;
    result = rte_eal_hotplug_add("vdev", name_.c_str(), options_.args.c_str());
    if (result != 0) return result;
    opened_ = true;
    result = rte_eth_dev_get_port_by_name(name_.c_str(), &port_);
    if (result == 0) result = rte_eth_dev_configure(port_, 1, 1, &conf);
    if (result == 0) result = setUp();
  }
  return result;
}

Outcome Port::configure() {
  rte_eth_conf conf = {};
  conf.txmode.offloads = txOffloads_;
  conf.rxmode.offloads = rxOffloads_;
  int result = rte_eth_dev_configure(port_, 1, 1, &conf);
  if (result != 0) return failed(name_ + " cannot be configured", result);
  uint16_t rxDescriptors = options_.rxDescriptors ? options_.rxDescriptors : 2048;
  uint16_t txDescriptors = options_.txDescriptors ? options_.txDescriptors : 2048;
  result = rte_eth_dev_adjust_nb_rx_tx_desc(port_, &rxDescriptors, &txDescriptors);
  if (result != 0) return failed(name_ + " does not take this number of descriptors", result, "Try another rxd= or txd=");
  result = setUpReceiveQueue(conf, rxDescriptors);
  if (result != 0) {
    return failed(name_ + " has no receive queue", result, xdp_ ? XdpProgram::kQueueHint : "");
  }
  result = rte_eth_tx_queue_setup(port_, 0, txDescriptors, rte_eth_dev_socket_id(port_), nullptr);
  if (result != 0) return failed(name_ + " has no transmit queue", result);
  return options_.setMtu != 0 ? setMtu() : Outcome{};
}

/** With TSO net_tap refuses segments whose frame, Ethernet header included, is longer than the MTU that it knows of. */
Outcome Port::setMtu() {
  const bool more = tso() && !options_.tapInterface.empty();
  const auto mtu = static_cast<uint16_t>(options_.setMtu + (more ? RTE_ETHER_HDR_LEN : 0));
  const int result = rte_eth_dev_set_mtu(port_, mtu);
  if (result != 0) return failed(name_ + " does not take mtu " + std::to_string(mtu), result);
  return more ? interfaceSetMtu(options_.tapInterface, options_.setMtu) : Outcome{};
}

Outcome Port::start() {
  std::lock_guard guard(eal::lock());
  if (!opened_ || !zones_.placed()) return Failure{"ERR_LUNET_STATE", "attach() comes before start()"};
  if (running_) return {};
  eal::takeLog();
  if (Outcome failure = readRings()) return failure;
  if (!configured_) {
    const std::vector<int> fdsBefore = openFds();
    if (Outcome failure = configure()) return failure;
    configured_ = true;
    queueFds_ = openedSince(fdsBefore);
  }
  if (xdp_) {
    if (Outcome failure = xdp_->takeOver()) return failure;
  }
  const auto exclusive = quiesce::Exclusive::when(options_.memif);
  const int result = rte_eth_dev_start(port_);
  deviceStarted_ = result == 0;
  // A memif client whose server is not there yet is a cable without a far end, not an error.
  const bool waiting = options_.memif && options_.socketPath.empty();
  if (result != 0 && !waiting) return failed(name_ + " does not start", result);
  running_ = true;
  return {};
}

bool Port::reconnect() {
  std::lock_guard guard(eal::lock());
  if (!running_) return false;
  const auto exclusive = quiesce::Exclusive::when(options_.memif);
  if (deviceStarted_) rte_eth_dev_stop(port_);
  deviceStarted_ = rte_eth_dev_start(port_) == 0;
  return deviceStarted_;
}

bool Port::linkUp() const {
  rte_eth_link link = {};
  return opened_ && rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void Port::close() {
  std::lock_guard guard(eal::lock());
  running_ = false;
  if (opened_) {
    const auto exclusive = quiesce::Exclusive::when(options_.memif);
    for (uint32_t i = 0; i < staged_; i++) rte_pktmbuf_free(stagedFrames_[i]);
    staged_ = 0;
    wasm_ = nullptr;
    if (configured_) rte_eth_dev_stop(port_);
    if (xdp_) xdp_->detach();
    if (options_.pci.empty()) {
      rte_eal_hotplug_remove("vdev", name_.c_str());
      if (xdp_) closeXdpSockets(queueFds_);
    } else {
      rte_eth_dev_close(port_);
    }
    if (!options_.socketPath.empty()) residue::removeFile(options_.socketPath);
    if (options_.memif) openMemifPorts--;
    opened_ = false;
  }
  xdp_.reset();
  if (slot_) quiesce::releaseSlot(slot_);
  slot_ = nullptr;
  if (segmentPool_) rte_mempool_free(segmentPool_);
  segmentPool_ = nullptr;
  pool_.release();
  zones_.release();
}

}  // namespace lunet
