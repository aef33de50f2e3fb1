#include "iface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lunet {

Outcome interfaceInfo(const std::string& name, InterfaceInfo* info) {
  ifreq request = {};
  if (name.empty() || name.size() >= sizeof request.ifr_name) {
    return Failure{"ENODEV", "\"" + name + "\" is not an interface name"};
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket", errno);
  auto ask = [&](unsigned long what) {
    memcpy(request.ifr_name, name.c_str(), name.size() + 1);
    return ioctl(fd, what, &request) == 0;
  };
  Outcome failure;
  if (!ask(SIOCGIFINDEX)) {
    failure = Failure{errnoName(errno), "interface " + name + ": " + strerror(errno) + ". See ip link for those there are"};
  } else {
    info->index = request.ifr_ifindex;
    if (ask(SIOCGIFHWADDR)) memcpy(info->mac.data(), request.ifr_hwaddr.sa_data, info->mac.size());
    if (ask(SIOCGIFMTU)) info->mtu = static_cast<uint32_t>(request.ifr_mtu);
    if (ask(SIOCGIFFLAGS)) info->up = (request.ifr_flags & IFF_UP) != 0;
    ethtool_drvinfo driver = {};
    driver.cmd = ETHTOOL_GDRVINFO;
    request.ifr_data = reinterpret_cast<char*>(&driver);
    if (ask(SIOCETHTOOL)) info->driver = driver.driver;
    ethtool_channels channels = {};
    channels.cmd = ETHTOOL_GCHANNELS;
    request.ifr_data = reinterpret_cast<char*>(&channels);
    if (ask(SIOCETHTOOL)) info->queues = std::max(1u, channels.combined_count + channels.rx_count);
  }
  close(fd);
  return failure;
}

Outcome interfaceSetMtu(const std::string& name, uint16_t mtu) {
  ifreq request = {};
  if (name.empty() || name.size() >= sizeof request.ifr_name) return failed(name, ENODEV);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket", errno);
  memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  request.ifr_mtu = mtu;
  const int error = ioctl(fd, SIOCSIFMTU, &request) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) return failed(name + " does not take mtu " + std::to_string(mtu), error);
  return {};
}

}  // namespace lunet
