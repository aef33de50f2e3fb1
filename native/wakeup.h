// Sleeping until frames may be waiting: one shot on the file descriptor behind a port's receive queue.
#pragma once

#include <napi.h>
#include <uv.h>

namespace lunet {

class Port;

/** Belongs to one environment and one port. */
class Wakeup {
 public:
  explicit Wakeup(Napi::Env env) : env_(env) {}
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup() { close(); }

  /** Calls `callback` once when frames may be waiting. False where the driver has nothing to wait on. */
  bool arm(Port& port, Napi::Function callback);
  void disarm(Port& port);
  /** What was armed can no longer fire: a memif peer went away, or a new one came. */
  bool stale(const Port& port) const;
  /** Stops for good. The handle is gone a turn of libuv later; nothing refers to this object from then on. */
  void close();

 private:
  /** The uv handle outlives its Wakeup until libuv has closed it. */
  struct Poll {
    uv_poll_t handle;
    int fd;
    Wakeup* owner;
  };

  bool watch(int fd);
  void dropPoll();
  void fired();

  Napi::Env env_;
  Napi::FunctionReference callback_;
  Port* port_ = nullptr;
  Poll* poll_ = nullptr;
  int source_ = -1;
};

}  // namespace lunet
