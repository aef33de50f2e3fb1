// DPDK's environment abstraction layer: one per process, started once, shared by every thread that loads the shim.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "error.h"

namespace lunet::eal {

/** Guards everything that is one per process: EAL, device creation and removal, the list of open ports. */
std::recursive_mutex& lock();

struct Options {
  /** Refuse to start without hugepages instead of falling back to ordinary pages. */
  bool requireHugepages = false;
  /** Use ordinary pages even where hugepages are free. */
  bool forbidHugepages = false;
  /** Hugepages of 2 MiB the caller is going to need; with fewer free, ordinary pages are used. */
  unsigned pages = 0;
  /** PCI address to allow; without it the PCI bus is not looked at. */
  std::string pci;
};

/** Starts EAL unless it runs. Its kind of memory is decided by the first call. The caller holds lock(). */
Outcome start(const Options& options);

bool started();
/** EAL allocates from hugepages. */
bool hugepages();
/** IO addresses are virtual addresses. */
bool iovaIsVa();

/** Gives the calling thread an lcore id (its mempool caches) without moving it to another CPU. */
Outcome adoptThread();
void releaseThread();

/** 2 MiB hugepages nobody uses. */
unsigned freeHugepages();

/** What DPDK logged since the last call: at most its last few lines, joined by "; ". */
std::string takeLog();
/** Adds a line of another library to that. */
void addLog(const std::string& text);

}  // namespace lunet::eal
