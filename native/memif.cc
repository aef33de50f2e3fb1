#include "memif.h"

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

#include "memif_driver.h"
#include "port.h"

namespace lunet::memif {

namespace {

/** How DPDK names the region that holds the rings. */
constexpr const char* kRegionName = "/memfd:memif_region_0 (deleted)";
/** Looks at the ring after unmasking: the peer may have read the old flag just before it published a frame. */
constexpr int kLooks = 64;

// DPDK offers no receive interrupt for memif, though the protocol has one: see memif_driver.h.
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

bool hasFrames(const DriverQueue& queue, uintptr_t ring) {
  uint16_t produced = 0;
  const size_t at = queue.fromClient() ? offsetof(Ring, head) : offsetof(Ring, tail);
  if (!peek(ring + at, &produced)) return false;
  return produced != (queue.fromClient() ? queue.lastHead : queue.lastTail);
}

/** The ring of the receive queue; 0 when it is not known. A look at all mappings takes a millisecond in a large process. */
uintptr_t receiveRing(const Port& port, const DriverQueue& queue) {
  if (port.ringsAreCurrent()) return port.receiveRing();
  const Region region = findRegion(queue);
  return region.at ? reinterpret_cast<uintptr_t>(region.at) + queue.ringOffset : 0;
}

bool setMask(uintptr_t ring, bool masked) {
  uint16_t flags = 0;
  if (!peek(ring + offsetof(Ring, flags), &flags)) return false;
  flags = static_cast<uint16_t>(masked ? flags | kMaskInterrupt : flags & ~kMaskInterrupt);
  return poke(ring + offsetof(Ring, flags), flags);
}

void drain(int fd) {
  uint64_t count;
  if (fd >= 0 && read(fd, &count, sizeof count) < 0) return;
}

DriverQueue* knownQueue(const Port& port, void* at) {
  if (strncmp(rte_version(), kKnownVersion, strlen(kKnownVersion)) != 0) return nullptr;
  auto* queue = static_cast<DriverQueue*>(at);
  return queue && queue->port == port.id() && queue->type <= 1 ? queue : nullptr;
}

}  // namespace

DriverQueue* receiveQueue(const Port& port) {
  DriverQueue* queue = knownQueue(port, port.driverRxQueue());
  return queue && queue->mempool == port.pool().mempool() ? queue : nullptr;
}

DriverQueue* transmitQueue(const Port& port) {
  DriverQueue* queue = knownQueue(port, port.driverTxQueue());
  const DriverQueue* other = receiveQueue(port);
  return queue && other && queue->device == other->device ? queue : nullptr;
}

Region findRegion(const DriverQueue& queue) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  Region found;
  while (std::getline(maps, line)) {
    if (line.size() < strlen(kRegionName) || line.compare(line.size() - strlen(kRegionName), std::string::npos, kRegionName) != 0) {
      continue;
    }
    char* rest = nullptr;
    const uintptr_t begin = strtoull(line.c_str(), &rest, 16);
    const uintptr_t end = strtoull(rest + 1, nullptr, 16);
    uint32_t cookie = 0;
    if (!peek(begin + queue.ringOffset, &cookie) || cookie != kCookie) continue;
    if (found.at) return {};
    found = {reinterpret_cast<uint8_t*>(begin), end - begin};
  }
  return found;
}

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
  const DriverQueue* queue = port.linkUp() ? receiveQueue(port) : nullptr;
  if (!queue) return -1;
  const int fd = rte_intr_fd_get(queue->interrupt);
  const uintptr_t ring = fd >= 0 ? receiveRing(port, *queue) : 0;
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
  const DriverQueue* queue = receiveQueue(port);
  const uintptr_t ring = queue ? receiveRing(port, *queue) : 0;
  if (ring == 0) return;
  setMask(ring, true);
  drain(rte_intr_fd_get(queue->interrupt));
}

bool interruptMasked(const Port& port) {
  const DriverQueue* queue = port.linkUp() ? receiveQueue(port) : nullptr;
  const uintptr_t ring = queue ? receiveRing(port, *queue) : 0;
  uint16_t flags = kMaskInterrupt;
  return ring == 0 || !peek(ring + offsetof(Ring, flags), &flags) || (flags & kMaskInterrupt) != 0;
}

}  // namespace lunet::memif
