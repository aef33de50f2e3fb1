#include "memif.h"

#include <rte_interrupts.h>
#include <rte_pause.h>
#include <rte_version.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

#include "port.h"

namespace lunet::memif {

namespace {

// A ring as the memif protocol lays it out in the region the two ends share.
constexpr uint32_t kCookie = 0x3E31F20;
constexpr size_t kFlagsAt = 4;
constexpr size_t kHeadAt = 6;
constexpr size_t kTailAt = 64;
constexpr uint16_t kMaskInterrupt = 1;
/** How DPDK names the region that holds the rings. */
constexpr const char* kRegionName = "/memfd:memif_region_0 (deleted)";
/** Looks at the ring after unmasking: the peer may have read the old flag just before it published a frame. */
constexpr int kLooks = 64;

// DPDK offers no receive interrupt for memif, though the protocol has one. The driver's queue, as DPDK 22.11 keeps it:
// enough of it to find the ring and the event descriptor. Every field is checked before it is believed.
struct DriverQueue {
  void* mempool;
  void* unused0;
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
};
static_assert(offsetof(DriverQueue, interrupt) == 0x38, "layout of DPDK 22.11");
constexpr const char* kKnownVersion = "DPDK 22.11.";

/** The ring may vanish at any moment, when the peer goes: it is read and written by calls that can fail. */
template <typename T>
bool peek(uintptr_t at, T* value) {
  iovec local = {value, sizeof(T)};
  iovec remote = {reinterpret_cast<void*>(at), sizeof(T)};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(T);
}

template <typename T>
bool poke(uintptr_t at, T value) {
  iovec local = {&value, sizeof(T)};
  iovec remote = {reinterpret_cast<void*>(at), sizeof(T)};
  return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == sizeof(T);
}

const DriverQueue* driverQueue(const Port& port) {
  if (strncmp(rte_version(), kKnownVersion, strlen(kKnownVersion)) != 0) return nullptr;
  const auto* queue = static_cast<const DriverQueue*>(port.driverRxQueue());
  const bool known = queue && queue->mempool == port.pool().mempool() && queue->port == port.id() && queue->type <= 1;
  return known ? queue : nullptr;
}

bool hasFrames(const DriverQueue& queue, uintptr_t ring) {
  uint16_t produced = 0;
  const bool fromClient = queue.type == 0;
  if (!peek(ring + (fromClient ? kHeadAt : kTailAt), &produced)) return false;
  return produced != (fromClient ? queue.lastHead : queue.lastTail);
}

bool isRing(uintptr_t at) {
  uint32_t cookie = 0;
  return peek(at, &cookie) && cookie == kCookie;
}

/**
 * The ring of this queue, looked for among the regions this process has mapped; 0 when it could be any of several. A
 * look at all regions takes a millisecond in a large process, so the port remembers what was found: a peer that went
 * has its region unmapped, and what is there instead has no cookie.
 */
uintptr_t findRing(Port& port, const DriverQueue& queue) {
  uintptr_t& known = port.memifRegion();
  if (known != 0 && isRing(known + queue.ringOffset)) return known + queue.ringOffset;
  known = 0;
  std::ifstream maps("/proc/self/maps");
  std::string line;
  uintptr_t found = 0;
  while (std::getline(maps, line)) {
    if (line.size() < strlen(kRegionName) || line.compare(line.size() - strlen(kRegionName), std::string::npos, kRegionName) != 0) {
      continue;
    }
    const uintptr_t region = strtoull(line.c_str(), nullptr, 16);
    if (!isRing(region + queue.ringOffset)) continue;
    if (found != 0) return 0;
    found = region;
  }
  if (found == 0) return 0;
  known = found;
  return found + queue.ringOffset;
}

bool setMask(uintptr_t ring, bool masked) {
  uint16_t flags = 0;
  if (!peek(ring + kFlagsAt, &flags)) return false;
  flags = static_cast<uint16_t>(masked ? flags | kMaskInterrupt : flags & ~kMaskInterrupt);
  return poke(ring + kFlagsAt, flags);
}

void drain(int fd) {
  uint64_t count;
  if (fd >= 0 && read(fd, &count, sizeof count) < 0) return;
}

}  // namespace

Outcome clearStaleSocket(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) {
    return Failure{"EADDRINUSE", path + " exists and is not a socket. Remove it or use another path"};
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Failure{"ENAMETOOLONG", path + " is too long for a socket"};
  memcpy(address.sun_path, path.c_str(), path.size());
  const int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return failed("socket", errno);
  const int result = connect(probe, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int error = errno;
  close(probe);
  // EAGAIN: a listener whose queue is full. EPROTOTYPE: a socket of another kind that is in use.
  if (result == 0 || (error != ECONNREFUSED && error != ENOENT)) {
    return Failure{"EADDRINUSE", path + " is in use by a running process. Use another path, or role=client"};
  }
  unlink(path.c_str());
  return {};
}

int unmaskInterrupt(Port& port) {
  const DriverQueue* queue = port.linkUp() ? driverQueue(port) : nullptr;
  if (!queue) return -1;
  const int fd = rte_intr_fd_get(queue->interrupt);
  const uintptr_t ring = fd >= 0 ? findRing(port, *queue) : 0;
  if (ring == 0) return -1;
  drain(fd);
  if (!setMask(ring, false)) return -1;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  for (int i = 0; i < kLooks; i++) {
    if (hasFrames(*queue, ring)) {
      const uint64_t one = 1;
      return write(fd, &one, sizeof one) == sizeof one ? fd : -1;
    }
    rte_pause();
  }
  return fd;
}

void maskInterrupt(Port& port) {
  const DriverQueue* queue = driverQueue(port);
  const uintptr_t ring = queue ? findRing(port, *queue) : 0;
  if (ring == 0) return;
  setMask(ring, true);
  drain(rte_intr_fd_get(queue->interrupt));
}

bool interruptMasked(Port& port) {
  const DriverQueue* queue = port.linkUp() ? driverQueue(port) : nullptr;
  const uintptr_t ring = queue ? findRing(port, *queue) : 0;
  uint16_t flags = kMaskInterrupt;
  return ring == 0 || !peek(ring + kFlagsAt, &flags) || (flags & kMaskInterrupt) != 0;
}

}  // namespace lunet::memif
