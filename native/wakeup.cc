#include "wakeup.h"

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <string>

#include "memif.h"
#include "port.h"

namespace lunet {

namespace {

#ifndef AF_XDP
constexpr int AF_XDP = 44;
#endif

/** AF_XDP and AF_PACKET sockets are readable while their ring holds frames. */
bool isFrameSocket(int fd) {
  int domain = 0;
  socklen_t bytes = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && (domain == AF_XDP || domain == AF_PACKET);
}

/** A TUN file is readable while its queue holds frames. */
bool isTun(int fd) {
  char target[PATH_MAX];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return length > 0 && std::string(target, static_cast<size_t>(length)) == "/dev/net/tun";
}

int receiveFd(const Port& port) {
  for (const int fd : port.queueFds()) {
    if (isFrameSocket(fd) || isTun(fd)) return fd;
  }
  // net_af_packet opens its sockets with the device. net_tap opens a file there too, which only holds the interface.
  for (const int fd : port.deviceFds()) {
    if (isFrameSocket(fd)) return fd;
  }
  return -1;
}

}  // namespace

bool Wakeup::arm(Port& port, Napi::Function callback) {
  if (!port.isRunning()) return false;
  int fd = -1;
  if (port.options().memif) {
    fd = memif::unmaskInterrupt(port);
  } else {
    if (source_ < 0) source_ = receiveFd(port);
    fd = source_;
  }
  if (fd < 0) return false;
  port_ = &port;
  callback_ = Napi::Persistent(callback);
  if (watch(fd)) return true;
  callback_.Reset();
  return false;
}

bool Wakeup::watch(int fd) {
  if (poll_ && fd != source_) dropPoll();
  if (!poll_) {
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return false;
    // A duplicate: the driver may close its own while libuv still watches.
    auto* poll = new Poll{{}, dup(fd), this};
    if (poll->fd < 0 || uv_poll_init(loop, &poll->handle, poll->fd) != 0) {
      if (poll->fd >= 0) ::close(poll->fd);
      delete poll;
      return false;
    }
    poll->handle.data = poll;
    // Whether the process stays alive is for the loop's own timers to say.
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll->handle));
    poll_ = poll;
    source_ = fd;
  }
  return uv_poll_start(&poll_->handle, UV_READABLE | UV_DISCONNECT, [](uv_poll_t* handle, int, int) {
           auto* poll = static_cast<Poll*>(handle->data);
           if (poll->owner) poll->owner->fired();
         }) == 0;
}

void Wakeup::fired() {
  const Napi::HandleScope scope(env_);
  const Napi::Function callback = callback_.Value();
  disarm(*port_);
  callback.MakeCallback(env_.Global(), {});
  // An exception of the callback is the application's: it becomes an uncaught one, as from any libuv callback.
  napi_value error;
  if (napi_get_and_clear_last_exception(env_, &error) == napi_ok) {
    napi_valuetype type;
    if (napi_typeof(env_, error, &type) == napi_ok && type != napi_undefined) napi_fatal_exception(env_, error);
  }
}

void Wakeup::disarm(Port& port) {
  if (poll_) uv_poll_stop(&poll_->handle);
  if (!callback_.IsEmpty() && port.options().memif) memif::maskInterrupt(port);
  callback_.Reset();
}

bool Wakeup::stale(const Port& port) const {
  return !callback_.IsEmpty() && port.options().memif && memif::interruptMasked(port);
}

void Wakeup::close() {
  callback_.Reset();
  dropPoll();
}

void Wakeup::dropPoll() {
  source_ = -1;
  if (!poll_) return;
  poll_->owner = nullptr;
  uv_poll_stop(&poll_->handle);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_->handle),
           [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
  // At once: it keeps the driver's socket alive, and with it an AF_XDP queue.
  ::close(poll_->fd);
  poll_ = nullptr;
}

}  // namespace lunet
