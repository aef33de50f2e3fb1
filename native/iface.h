// Kernel interfaces by name: what an AF_XDP or AF_PACKET link has to know of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "error.h"

namespace lunet {

struct InterfaceInfo {
  int index = 0;
  std::array<uint8_t, 6> mac = {};
  uint32_t mtu = 0;
  bool up = false;
  /** ethtool's driver name: veth, virtio_net, ixgbe, …; empty when the interface does not say. */
  std::string driver;
  /** Receive queues in use; 1 when the interface does not say. */
  uint32_t queues = 1;
};

/** ENODEV when there is no such interface in this network namespace. */
Outcome interfaceInfo(const std::string& name, InterfaceInfo* info);

/** Sets the kernel's MTU of an interface of this network namespace. */
Outcome interfaceSetMtu(const std::string& name, uint16_t mtu);

}  // namespace lunet
