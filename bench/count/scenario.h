// What is measured, each under a name: its figures go to a dump of callgrind, and how many operations it was to standard output.
#pragma once

#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>

#include "runtime.h"

namespace lunet::count {

/** Runs `work`, which returns how many operations it did, on the meter. */
template <typename Work>
void scenario(const char* name, Work work) {
  measuring = true;
  const uint32_t operations = work();
  measuring = false;
  std::printf("%s\t%u\n", name, operations);
  CALLGRIND_DUMP_STATS_AT(name);
}

}  // namespace lunet::count
