#include "thread.h"

#include <sched.h>
#include <time.h>

#include <cerrno>

namespace lunet {

Outcome pinThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return Failure{"EINVAL", "there is no CPU " + std::to_string(cpu)};
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    return failed("CPU " + std::to_string(cpu) + " cannot be used", errno, "See nproc and taskset -p for those allowed");
  }
  return {};
}

double threadCpuSeconds() {
  timespec spent = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

}  // namespace lunet
