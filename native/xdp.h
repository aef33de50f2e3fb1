// The AF_XDP bifurcation program (xdp/lunet.bpf.c) as attached to an interface by DPDK's af_xdp driver.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "error.h"

namespace lunet {

class XdpProgram {
 public:
  static constexpr const char* kQueueHint =
      "AF_XDP wants root (CAP_NET_ADMIN, CAP_BPF), the interface up, and the queue used by nobody else";

  explicit XdpProgram(std::string interface) : interface_(std::move(interface)) {}
  XdpProgram(const XdpProgram&) = delete;
  XdpProgram& operator=(const XdpProgram&) = delete;
  ~XdpProgram() { detach(); }

  /** Detaches a program of ours whose process is dead. EBUSY when one is alive, EEXIST when it is a foreign program. */
  Outcome clearStale();
  /** The driver has attached the program: names this process its owner and steers the ports wished for so far. */
  Outcome takeOver();
  /** TCP destination ports `first` to `last` to lunet, or back to the kernel. */
  Outcome steer(uint16_t first, uint16_t last, bool on);
  /** Takes the program off the interface, if it is still the one we own. */
  void detach();

 private:
  Outcome writePorts(uint32_t firstWord, uint32_t lastWord);

  static constexpr uint32_t kPortWords = 65536 / 64;

  std::string interface_;
  int index_ = 0;
  uint32_t program_ = 0;
  int portsMap_ = -1;
  std::array<uint64_t, kPortWords> ports_ = {};
};

}  // namespace lunet
