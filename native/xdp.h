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
  enum class Protocol { kTcp, kUdp };
  /** Destination ports `first` to `last` of a protocol to lunet, or back to the kernel. */
  Outcome steer(Protocol protocol, uint16_t first, uint16_t last, bool on);
  /** Takes the program off the interface, if it is still the one we own. */
  void detach();

 private:
  Outcome writePorts(uint32_t firstWord, uint32_t lastWord);

  // The words of the program's map: TCP's ports, the owner, UDP's ports.
  static constexpr uint32_t kPortWords = 65536 / 64;
  static constexpr uint32_t kOwnerWords = 3;
  static constexpr uint32_t kUdpFirstWord = kPortWords + kOwnerWords;

  std::string interface_;
  int index_ = 0;
  uint32_t program_ = 0;
  int portsMap_ = -1;
  /** As in the map; the owner's words are not used. */
  std::array<uint64_t, kUdpFirstWord + kPortWords> words_ = {};
};

}  // namespace lunet
