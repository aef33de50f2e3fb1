// The core as a native program: what wasm2c's output needs of a runtime, and two cores on a wire. Everything is
// deterministic, so that an instruction counter gives the same figures in every run.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../../native/layout.h"
#include "core.h"

namespace lunet::count {
struct End;
}

struct Z_env_instance_t {
  wasm_rt_memory_t memory;
};

struct Z_host_instance_t {
  lunet::count::End* end;
};

/** Puts linear memory where the core's loads and stores have its base: a register, as V8 has it (memory.c). */
extern "C" void memoryUse(uint8_t* base);

namespace lunet::count {

using OnEvent = void (*)(End& end, uint32_t handle, uint32_t kind, uint32_t a, uint32_t b);

/** One core, its memory, and its end of the wire. */
struct End {
  Z_core_instance_t core;
  Z_env_instance_t env;
  Z_host_instance_t host;
  uint8_t* bytes = nullptr;
  /** Receive objects that the link has, and frames that have arrived. */
  std::vector<uint32_t> free;
  struct Frame {
    uint32_t object;
    uint32_t bytes;
  };
  std::vector<Frame> inbox;
  End* peer = nullptr;
  OnEvent onEvent = nullptr;

  uint32_t get(uint32_t at) const {
    uint32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
  }
  void put(uint32_t at, uint32_t value) { memcpy(bytes + at, &value, sizeof value); }

  /** The core, about to run. */
  Z_core_instance_t* use() {
    memoryUse(bytes);
    return &core;
  }
};

/** Reads the configuration from standard input: pages of memory, then pairs of an address and its value. */
void readConfiguration();

/** Opens a core with the address 10.0.0.`number`. `flags`: CFGF_… beside those of the configuration. */
void openEnd(End& end, uint32_t number, uint32_t mtu, uint32_t flags);
void openPair(End& a, End& b, uint32_t mtu, uint32_t flags);
void closeEnd(End& end);

/** Writes the IPv4 address 10.0.0.`number` to the core's scratch and returns where. */
uint32_t addressOf(End& end, uint32_t number);

/** Moves what the end has queued to its peer. Returns how many frames. */
uint32_t transmit(End& end);

/** Puts what has arrived into the receive descriptors. Returns how many. */
uint32_t receive(End& end);

/** The clock of both ends, microseconds. */
extern double nowUs;

/** Ends the program when `fine` is false. */
void expect(bool fine, const char* what);

// ---- what is counted: callgrind.cc counts instructions, lines.cc notes addresses ----

void meterOn();
void meterOff();

/** Nothing is counted while this is false. */
extern bool measuring;

/** While it lives, the core runs on the meter. */
class Counted {
 public:
  Counted() {
    if (measuring) meterOn();
  }
  ~Counted() {
    if (measuring) meterOff();
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

}  // namespace lunet::count
