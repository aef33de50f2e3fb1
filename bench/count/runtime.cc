#include "runtime.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

using lunet::count::End;

extern "C" wasm_rt_memory_t* Z_envZ_memory(Z_env_instance_t* env) { return &env->memory; }

extern "C" void Z_hostZ_event(Z_host_instance_t* host, u32 handle, u32 kind, u32 a, u32 b) {
  host->end->onEvent(*host->end, handle, kind, a, b);
}

extern "C" void wasm_rt_trap(wasm_rt_trap_t code) {
  std::fprintf(stderr, "the core trapped: %d\n", static_cast<int>(code));
  std::abort();
}

/** The core has no tables, so nobody compares types. */
extern "C" uint32_t wasm_rt_register_func_type(uint32_t, uint32_t, ...) { return 0; }

extern "C" bool wasm_rt_is_initialized(void) { return true; }

namespace lunet::count {

double nowUs = 1e6;
bool measuring = false;

namespace {

constexpr uint32_t kRxStride = 9216;
constexpr uint32_t kPageBytes = 65536;
/** Frames of a burst. */
constexpr uint32_t kBurst = 64;

uint32_t pages = 0;
std::vector<std::pair<uint32_t, uint32_t>> configuration;

void deliver(End& from, uint32_t tail, uint32_t segments, uint32_t bytes) {
  End& to = *from.peer;
  expect(!to.free.empty() && bytes <= kRxStride, "a frame is lost");
  const uint32_t ring = from.get(CTL_TX_AT);
  const uint32_t mask = from.get(CTL_TX_SIZE) - 1;
  const uint32_t object = to.free.back();
  to.free.pop_back();
  uint32_t at = object;
  for (uint32_t i = 0; i < segments; i++) {
    const uint32_t entry = ring + ((tail + i) & mask) * TXD_SIZE;
    const uint32_t length = from.get(entry + TXD_LEN);
    memcpy(to.bytes + at, from.bytes + from.get(entry + TXD_ADDR), length);
    at += length;
  }
  to.inbox.push_back({object, bytes});
}

void takeFreed(End& end) {
  const uint32_t head = end.get(CTL_FREE_HEAD);
  const uint32_t mask = end.get(CTL_FREE_SIZE) - 1;
  for (uint32_t tail = end.get(CTL_FREE_TAIL); tail != head; tail++) {
    end.free.push_back(end.get(end.get(CTL_FREE_AT) + (tail & mask) * 4));
  }
  end.put(CTL_FREE_TAIL, head);
}

}  // namespace

void expect(bool fine, const char* what) {
  if (fine) return;
  std::fprintf(stderr, "count: %s\n", what);
  std::exit(1);
}

void readConfiguration() {
  expect(std::scanf("%u", &pages) == 1, "no configuration");
  uint32_t at;
  uint32_t value;
  while (std::scanf("%u %u", &at, &value) == 2) configuration.emplace_back(at, value);
}

uint32_t addressOf(End& end, uint32_t number) {
  const uint32_t scratch = end.get(CTL_SCRATCH_AT);
  const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, static_cast<uint8_t>(number)};
  memcpy(end.bytes + scratch, address, sizeof address);
  return scratch;
}

void openEnd(End& end, uint32_t number, uint32_t mtu, uint32_t flags) {
  const size_t size = static_cast<size_t>(pages) * kPageBytes;
  end.bytes = static_cast<uint8_t*>(std::calloc(1, size));
  expect(end.bytes != nullptr, "no memory");
  end.env.memory.data = end.bytes;
  end.env.memory.pages = end.env.memory.max_pages = pages;
  end.env.memory.size = static_cast<uint32_t>(size);
  end.host.end = &end;
  for (const auto& [at, value] : configuration) end.put(at, value);
  end.put(CFG_MTU, mtu);
  end.put(CFG_FLAGS, end.get(CFG_FLAGS) | flags);
  const uint8_t mac[6] = {2, 0, 0, 0, 0, static_cast<uint8_t>(number)};
  memcpy(end.bytes + CFG_MAC, mac, sizeof mac);
  Z_core_instantiate(end.use(), &end.env, &end.host);
  expect(Z_coreZ_init(end.use()) == 0, "init() failed");
  const uint32_t pool = end.get(CFG_ZONE_BASE);
  const uint32_t objects = end.get(CFG_RX_ZONES) * ZONE_BYTES / kRxStride;
  expect(Z_coreZ_rxPoolAdd(end.use(), pool, kRxStride, objects) == 0, "rxPoolAdd() failed");
  for (uint32_t i = objects; i > 0; i--) end.free.push_back(pool + (i - 1) * kRxStride);
  expect(Z_coreZ_addressAdd(end.use(), addressOf(end, number), 120) == 0, "addressAdd() failed");
}

void openPair(End& a, End& b, uint32_t mtu, uint32_t flags) {
  openEnd(a, 1, mtu, flags);
  openEnd(b, 2, mtu, flags);
  a.peer = &b;
  b.peer = &a;
}

void closeEnd(End& end) {
  std::free(end.bytes);
  end = End();
}

uint32_t transmit(End& end) {
  const uint32_t head = end.get(CTL_TX_HEAD);
  uint32_t tail = end.get(CTL_TX_TAIL);
  const uint32_t ring = end.get(CTL_TX_AT);
  const uint32_t mask = end.get(CTL_TX_SIZE) - 1;
  const uint32_t doneAt = end.get(CTL_DONE_AT);
  const uint32_t doneMask = end.get(CTL_DONE_SIZE) - 1;
  uint32_t done = end.get(CTL_DONE_HEAD);
  uint32_t frames = 0;
  for (; tail != head; frames++) {
    uint32_t segments = 0;
    uint32_t bytes = 0;
    uint32_t flags;
    do {
      const uint32_t entry = ring + ((tail + segments++) & mask) * TXD_SIZE;
      bytes += end.get(entry + TXD_LEN);
      flags = end.get(entry + TXD_FLAGS);
    } while (!(flags & TXF_END));
    deliver(end, tail, segments, bytes);
    for (uint32_t i = 0; i < segments; i++) {
      end.put(doneAt + (done++ & doneMask) * 4, end.get(ring + ((tail + i) & mask) * TXD_SIZE + TXD_ADDR));
    }
    tail += segments;
  }
  end.put(CTL_TX_TAIL, tail);
  end.put(CTL_DONE_HEAD, done);
  return frames;
}

uint32_t receive(End& end) {
  takeFreed(end);
  const uint32_t frames = end.inbox.size() < kBurst ? end.inbox.size() : kBurst;
  const uint32_t ring = end.get(CTL_RX_AT);
  for (uint32_t i = 0; i < frames; i++) {
    const uint32_t entry = ring + i * RXD_SIZE;
    end.put(entry + RXD_ADDR, end.inbox[i].object);
    end.put(entry + RXD_LEN, end.inbox[i].bytes);
    end.put(entry + RXD_FLAGS, 0);
  }
  end.inbox.erase(end.inbox.begin(), end.inbox.begin() + frames);
  return frames;
}

}  // namespace lunet::count
