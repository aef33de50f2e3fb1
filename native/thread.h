// The calling thread: where it runs and what it used.
#pragma once

#include "error.h"

namespace lunet {

/** Keeps the calling thread on one CPU. */
Outcome pinThread(int cpu);
/** CPU time the calling thread has used. */
double threadCpuSeconds();

}  // namespace lunet
