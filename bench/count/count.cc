// Scenarios of the core as it is released.
#include <string>

#include "scenario.h"
#include "traffic.h"

using namespace lunet;
using namespace lunet::count;

namespace {

constexpr uint32_t kBurst = 32;
constexpr uint32_t kWarmUp = 2000;

void segments(const char* name, Part part, uint32_t burst, uint32_t flags) {
  Traffic traffic(1500, flags, false);
  traffic.open();
  traffic.stream(part, kBurst, kWarmUp);
  traffic.stream(part, burst, 64);
  const End& end = part == Part::acks ? traffic.client() : traffic.server();
  const uint32_t counter = part == Part::acks ? CNT_TcpExtTCPHPAcks : CNT_TcpExtTCPHPHits;
  const uint32_t at = end.get(CTL_COUNTERS_AT) + 8 * counter;
  const uint32_t before = end.get(at);
  scenario(name, [&] { return traffic.stream(part, burst, 640); });
  expect(end.get(at) - before >= 640, "not every segment went the fast path");
}

void rpc(uint32_t size, uint32_t mtu, uint32_t flags) {
  Traffic traffic(mtu, flags, true);
  traffic.open();
  traffic.rpc(size, 200);
  const std::string name =
      "RPC " + std::to_string(size) + " B, MTU " + std::to_string(mtu) + (flags ? ", no checksums" : ", checksums");
  scenario(name.c_str(), [&] {
    traffic.rpc(size, 500);
    return 500;
  });
}

void bulk(uint32_t mtu, uint32_t flags) {
  Traffic traffic(mtu, flags, false);
  traffic.open();
  traffic.bulk(kWarmUp);
  const std::string name = "bulk segment, MTU " + std::to_string(mtu) + (flags ? ", no checksums" : ", checksums");
  scenario(name.c_str(), [&] { return traffic.bulk(2000); });
}

void connections() {
  Traffic traffic(1500, kTrust, false);
  const auto several = [&](uint32_t operations) {
    for (uint32_t i = 0; i < operations; i++) {
      traffic.open();
      traffic.close();
    }
    return operations;
  };
  several(20);
  scenario("connection open + close, both ends", [&] { return several(200); });
}

void objects() {
  End end{};
  openEnd(end, 1, 1500, kTrust);
  const auto several = [&](uint32_t operations) {
    const Counted counted;
    for (uint32_t i = 0; i < operations; i++) {
      Z_coreZ_free(end.use(), Z_coreZ_alloc(end.use(), 2048));
    }
    return operations;
  };
  several(20);
  scenario("Zbuf alloc + free", [&] { return several(1000); });
  closeEnd(end);
}

}  // namespace

int main() {
  readConfiguration();
  Z_core_init_module();
  segments("data in, burst of 32, no checksums", Part::in, kBurst, kTrust);
  segments("data in, burst of 32, checksums", Part::in, kBurst, 0);
  segments("data in, alone, no checksums", Part::in, 1, kTrust);
  segments("pure ACK in, alone, of 2 segments", Part::acks, 2, kTrust);
  segments("segment out, alone, no checksums", Part::out, 1, kTrust);
  segments("segment out, in a run of 32, no checksums", Part::out, kBurst, kTrust);
  segments("segment out, in a run of 32, checksums", Part::out, kBurst, 0);
  for (const uint32_t mtu : {1500, 9000}) {
    for (const uint32_t flags : {0u, kTrust}) {
      rpc(64, mtu, flags);
      rpc(4096, mtu, flags);
      bulk(mtu, flags);
    }
  }
  connections();
  objects();
  return 0;
}
