// The meter of instructions.
#include <valgrind/callgrind.h>

#include "runtime.h"

namespace lunet::count {

void meterOn() { CALLGRIND_TOGGLE_COLLECT; }
void meterOff() { CALLGRIND_TOGGLE_COLLECT; }

}  // namespace lunet::count
