// Which words of a connection's slot, and how many cache lines besides, the core touches for one segment. Linked with a core
// that notes every load and store.
#include <array>
#include <cstdio>
#include <unordered_set>

#include "traffic.h"

using namespace lunet;
using namespace lunet::count;

namespace {

constexpr uint32_t kLineBytes = 64;
constexpr uint32_t kWordBytes = 4;
/** SLOT_SIZE, TCB_SIZE, and the offsets of `state` and `ports`: assembly/tcp/tcb.ts. */
constexpr uint32_t kSlotBytes = 768;
constexpr uint32_t kSlotAlign = 256;
constexpr uint32_t kStateAt = 4;
constexpr uint32_t kPortsAt = 132;
constexpr int kLoaded = 1;
constexpr int kStored = 2;
constexpr uint32_t kServerPort = 7;

bool noting = false;
uint32_t slot = 0;
std::array<int, kSlotBytes / kWordBytes> words;
std::unordered_set<uint32_t> others;

/** The slot of an established connection. */
uint32_t slotOf(const End& end, uint32_t handle, bool server) {
  for (uint32_t at = kSlotAlign; at < end.get(CFG_ZONE_BASE); at += kSlotAlign) {
    const uint32_t ports = end.get(at + kPortsAt);
    const uint32_t port = server ? ports & 0xffff : ports >> 16;
    if (end.get(at) == handle && end.bytes[at + kStateAt] == TCP_ESTABLISHED && port == kServerPort) return at;
  }
  expect(false, "the connection has no slot");
  return 0;
}

template <typename Work>
void note(const char* name, uint32_t at, Work work) {
  slot = at;
  words.fill(0);
  others.clear();
  measuring = true;
  work();
  measuring = false;
  std::printf("%s\t%zu\t", name, others.size());
  for (uint32_t i = 0; i < words.size(); i++) {
    if (words[i] != 0) std::printf(" %u%s%s", i * kWordBytes, words[i] & kLoaded ? "r" : "", words[i] & kStored ? "w" : "");
  }
  std::printf("\n");
}

}  // namespace

extern "C" void noteAddress(uint32_t at, uint32_t bytes, int stores) {
  if (!noting) return;
  if (at - slot < kSlotBytes) {
    for (uint32_t i = (at - slot) / kWordBytes; i <= (at - slot + bytes - 1) / kWordBytes; i++) {
      words[i] |= stores ? kStored : kLoaded;
    }
  } else {
    others.insert(at / kLineBytes);
  }
}

namespace lunet::count {

void meterOn() { noting = true; }
void meterOff() { noting = false; }

}  // namespace lunet::count

int main() {
  readConfiguration();
  Z_core_init_module();
  Traffic traffic(1500, kTrust, false);
  traffic.open();
  traffic.stream(Part::in, 32, 2000);
  const uint32_t server = slotOf(traffic.server(), traffic.accepted(), true);
  const uint32_t client = slotOf(traffic.client(), traffic.handle(), false);
  // Every second segment is acknowledged.
  for (uint32_t i = 0; i < 2; i++) {
    const uint32_t before = traffic.server().get(CTL_TX_HEAD);
    traffic.stream(Part::in, 1, 1);
    if (traffic.server().get(CTL_TX_HEAD) != before) break;
  }
  note("data in, ACK delayed", server, [&] { traffic.stream(Part::in, 1, 1); });
  note("data in, ACK sent", server, [&] { traffic.stream(Part::in, 1, 1); });
  note("pure ACK in", client, [&] { traffic.stream(Part::acks, 2, 1); });
  note("segment out", client, [&] { traffic.stream(Part::out, 1, 1); });
  return 0;
}
