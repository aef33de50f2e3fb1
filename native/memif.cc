#include "memif.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lunet::memif {

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

int unmaskInterrupt(Port&) { return -1; }
void maskInterrupt(Port&) {}

}  // namespace lunet::memif
