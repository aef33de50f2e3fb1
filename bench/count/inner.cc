// Functions inside the core, by the loops of bench/assembly/hot.ts.
#include "scenario.h"

using namespace lunet::count;

namespace {

constexpr uint32_t kTimes = 1000;
constexpr uint32_t kConnections = 1000;
constexpr uint32_t kTimers = 500;
constexpr uint32_t kTickUs = 128;

}  // namespace

int main() {
  readConfiguration();
  Z_core_init_module();
  End end{};
  openEnd(end, 1, 1500, 0);
  Z_coreZ_poll(end.use(), nowUs);
  const auto times = [](uint32_t operations, auto call) {
    return [=] {
      const Counted counted;
      call();
      return operations;
    };
  };
  Z_core_instance_t* core = end.use();
  scenario("timer: arm, new", times(kTimers, [=] { Z_coreZ_hotTimerArm(core, kTimers, 1000, kTickUs); }));
  scenario("timer: arm again, later", times(kTimers, [=] { Z_coreZ_hotTimerArm(core, kTimers, 2000, kTickUs); }));
  scenario("timer: cancel", times(kTimers, [=] { Z_coreZ_hotTimerCancel(core, kTimers); }));
  Z_coreZ_hotTimerRemove(core, kTimers);
  scenario("Zbuf alloc + free, in the core", times(kTimes, [=] { Z_coreZ_hotAllocFree(core, kTimes, 2048); }));
  expect(Z_coreZ_hotFlowFill(core, kConnections) == kConnections, "the flow table is too small");
  scenario("flow lookup", times(kTimes, [=] {
             expect(Z_coreZ_hotFlowFind(core, kTimes, kConnections) == kTimes, "a connection was not found");
           }));
  closeEnd(end);
  return 0;
}
