#include "eal.h"

#include <malloc.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <thread>

#include "quiesce.h"

namespace lunet::eal {

namespace {

constexpr size_t kLogLines = 6;
/** Without hugepages EAL's heap has a fixed size: queues and segment pools of a few ports. Touched pages only count. */
constexpr const char* kNoHugeMegabytes = "256";

// What malloc keeps instead of giving it back to the kernel: see docs/decisions/017.
constexpr int kKeptBytes = 128 << 20;
constexpr int kMappedBytes = 32 << 20;
constexpr int kGrownBytes = 16 << 20;

struct State {
  std::recursive_mutex lock;
  bool started = false;
  bool hugepages = false;
  bool pci = false;
  Outcome failure;
};

struct Log {
  std::mutex lock;
  std::deque<std::string> lines;
};

// Never destroyed: EAL's own threads may still log while the process exits.
State& state() {
  static State* instance = new State;
  return *instance;
}

Log& log() {
  static Log* instance = new Log;
  return *instance;
}

ssize_t writeLog(void*, const char* text, size_t bytes) {
  addLog(std::string(text, bytes));
  return static_cast<ssize_t>(bytes);
}

/** "0@(0,2,3)": lcore 0 may run on any CPU this process may run on, so EAL moves nobody. */
std::string floatingLcore() {
  cpu_set_t set;
  std::string cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (CPU_ISSET(cpu, &set)) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
    }
  }
  return "0@(" + (cpus.empty() ? "0" : cpus) + ")";
}

std::vector<std::string> arguments(const Options& options, bool hugepages) {
  std::vector<std::string> args = {"lunet", "--lcores", floatingLcore(), "--no-telemetry", "--log-level", "lib.eal:5"};
  if (hugepages) {
    args.insert(args.end(), {"--in-memory", "--single-file-segments", "--file-prefix", "lunet" + std::to_string(getpid())});
  } else {
    args.insert(args.end(), {"--no-huge", "--no-shconf", "-m", kNoHugeMegabytes});
  }
  if (options.pci.empty()) {
    args.insert(args.end(), {"--no-pci", "--iova-mode=va"});
  } else {
    args.insert(args.end(), {"-a", options.pci});
  }
  return args;
}

/**
 * Buffers of received bytes come and go by the megabyte with every garbage collection. By default malloc returns them to
 * the kernel each time, and a polling loop then stalls on page faults. What the user has set stays as it is.
 */
void keepMemory() {
  const auto set = [](const char* variable, int parameter, int bytes) {
    if (getenv(variable) == nullptr) mallopt(parameter, bytes);
  };
  set("MALLOC_TRIM_THRESHOLD_", M_TRIM_THRESHOLD, kKeptBytes);
  set("MALLOC_MMAP_THRESHOLD_", M_MMAP_THRESHOLD, kMappedBytes);
  set("MALLOC_TOP_PAD_", M_TOP_PAD, kGrownBytes);
}

}  // namespace

std::recursive_mutex& lock() { return state().lock; }
bool started() { return state().started; }
bool hugepages() { return state().hugepages; }
bool iovaIsVa() { return rte_eal_iova_mode() == RTE_IOVA_VA; }

unsigned freeHugepages() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  unsigned pages = 0;
  file >> pages;
  return pages;
}

void addLog(const std::string& text) {
  const size_t end = text.find_last_not_of(" \n");
  if (end == std::string::npos) return;
  std::lock_guard guard(log().lock);
  log().lines.push_back(text.substr(0, end + 1));
  if (log().lines.size() > kLogLines) log().lines.pop_front();
}

std::string takeLog() {
  std::lock_guard guard(log().lock);
  std::string text;
  for (const std::string& line : log().lines) text += (text.empty() ? "" : "; ") + line;
  log().lines.clear();
  return text;
}

Outcome start(const Options& options) {
  State& s = state();
  if (s.started) {
    if (!options.pci.empty() && !s.pci) {
      return Failure{"ERR_LUNET_EAL_STARTED", "DPDK was started without the PCI bus by an earlier link of this process. "
                                              "Open the pci: link first"};
    }
    if (options.requireHugepages && !s.hugepages) {
      return Failure{"ERR_LUNET_EAL_STARTED", "DPDK was started without hugepages by an earlier link of this process. "
                                              "Reserve hugepages and start again"};
    }
    return {};
  }
  // EAL cannot be started a second time, not even after a failure.
  if (s.failure) return s.failure;

  const unsigned free = freeHugepages();
  const bool hugepages = !options.forbidHugepages && free > 0 && free >= options.pages;
  if (options.requireHugepages && !hugepages) {
    return Failure{"ERR_LUNET_NO_HUGEPAGES", "needs " + std::to_string(options.pages) + " free hugepages of 2 MiB, " +
                                                 std::to_string(free) +
                                                 " are free. Try: echo 512 > /proc/sys/vm/nr_hugepages"};
  }

  cookie_io_functions_t sink = {};
  sink.write = writeLog;
  FILE* stream = fopencookie(nullptr, "w", sink);
  if (stream) {
    setvbuf(stream, nullptr, _IOLBF, BUFSIZ);
    rte_openlog_stream(stream);
  }

  keepMemory();
  quiesce::install();
  std::vector<std::string> args = arguments(options, hugepages);
  int result = -1;
  int error = 0;
  // A thread of its own: rte_eal_init makes its caller lcore 0 for good, and callers here come and go.
  std::thread([&] {
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    result = rte_eal_init(static_cast<int>(args.size()), argv.data());
    error = rte_errno;
  }).join();

  if (result < 0) {
    s.failure = failed("DPDK did not start", error,
                       hugepages ? "Try: echo 512 > /proc/sys/vm/nr_hugepages, run as root, or LUNET_NO_HUGE=1"
                                 : "Try running as root, or with hugepages: echo 512 > /proc/sys/vm/nr_hugepages");
    s.failure->code = "ERR_LUNET_EAL";
    return s.failure;
  }
  // Nothing is shared with other processes, yet EAL makes a folder for it.
  rmdir(rte_eal_get_runtime_dir());
  s.started = true;
  s.hugepages = hugepages;
  s.pci = !options.pci.empty();
  takeLog();
  return {};
}

Outcome adoptThread() {
  if (rte_lcore_id() != LCORE_ID_ANY) return {};
  if (rte_thread_register() < 0) {
    return failed("this thread cannot get a DPDK lcore id", rte_errno, "Close links of other threads first");
  }
  return {};
}

void releaseThread() {
  if (rte_lcore_id() != LCORE_ID_ANY) rte_thread_unregister();
}

}  // namespace lunet::eal
