// A connection between two cores, and what is done on it.
#pragma once

#include "runtime.h"

namespace lunet::count {

/** Whose work is counted in a round of stream(). */
enum class Part { out, in, acks };

/** Neither computes checksums nor verifies them. */
constexpr uint32_t kTrust = CFGF_TX_NO_CSUM | CFGF_RX_TRUST;

class Traffic {
 public:
  Traffic(uint32_t mtu, uint32_t flags, bool echo);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /** Opens a connection; both ends' work is on the meter. */
  void open();
  /** Closes it on both sides. */
  void close();

  /** Requests of `size` bytes and their echoes; both ends' work is on the meter. */
  void rpc(uint32_t size, uint32_t operations);

  /**
   * Sends `burst` full segments by one call and has them acknowledged, until `operations` of what is counted are done: segments
   * sent, segments taken in (and answered), or ACKs taken in. Returns how many there were.
   */
  uint32_t stream(Part part, uint32_t burst, uint32_t operations);

  /** One way, as fast as the windows allow; both ends' work is on the meter. Returns the segments. */
  uint32_t bulk(uint32_t segments);

  End& server() { return server_; }
  uint32_t handle() const { return handle_; }
  uint32_t accepted() const { return accepted_; }
  End& client() { return client_; }

 private:
  void turn(End& end);
  void connect();
  static void onServer(End& end, uint32_t handle, uint32_t kind, uint32_t a, uint32_t b);
  static void onClient(End& end, uint32_t handle, uint32_t kind, uint32_t a, uint32_t b);

  End server_{};
  End client_{};
  uint32_t mss_;
  uint32_t listener_ = 0;
  uint32_t handle_ = 0;
  uint32_t accepted_ = 0;
  uint32_t connected_ = 0;
  uint32_t object_ = 0;
  uint32_t missing_ = 0;
  uint32_t received_ = 0;
  uint32_t ended_ = 0;
  bool echo_;
};

}  // namespace lunet::count
