#include "quiesce.h"

#include <dlfcn.h>
#include <linux/membarrier.h>
#include <rte_eal.h>
#include <rte_interrupts.h>
#include <rte_pause.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace lunet::quiesce {

std::atomic<bool> controlActive{false};
std::atomic<uint32_t> generation{0};
bool fenceInBurst = false;

namespace {

constexpr size_t kSlots = 128;

struct State {
  Slot slots[kSlots];
  std::recursive_mutex control;
  unsigned depth = 0;
};

State& state() {
  static State* instance = new State;
  return *instance;
}

long membarrier(int command) { return syscall(__NR_membarrier, command, 0, 0); }

/** A driver's handler, and whether it has asked to be rid of it while it waits to run. */
struct Handler {
  int fd;
  rte_intr_callback_fn run;
  void* argument;
  rte_intr_unregister_callback_fn gone;
  bool cancelled;
};

struct Handlers {
  std::mutex lock;
  std::vector<std::unique_ptr<Handler>> all;

  Handler* find(int fd, rte_intr_callback_fn run, const void* argument) {
    std::lock_guard guard(lock);
    const auto at = std::find_if(all.begin(), all.end(), [&](const auto& handler) {
      return handler->fd == fd && handler->run == run && handler->argument == argument && !handler->cancelled;
    });
    return at == all.end() ? nullptr : at->get();
  }

  void forget(const Handler* handler) {
    std::lock_guard guard(lock);
    all.erase(std::remove_if(all.begin(), all.end(), [&](const auto& one) { return one.get() == handler; }), all.end());
  }
};

Handlers& handlers() {
  static Handlers* instance = new Handlers;
  return *instance;
}

void runExclusively(void* opaque) {
  auto* handler = static_cast<Handler*>(opaque);
  const Exclusive exclusive;
  if (!handler->cancelled) handler->run(handler->argument);
}

void afterUnregister(rte_intr_handle* source, void* opaque) {
  auto* handler = static_cast<Handler*>(opaque);
  if (handler->gone) handler->gone(source, handler->argument);
  handlers().forget(handler);
}

/** EAL's own function behind the one of this name below. */
template <typename Function>
Function real(const char* name) {
  Dl_info info = {};
  void* eal = nullptr;
  if (dladdr(reinterpret_cast<void*>(rte_eal_init), &info) != 0) eal = dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
  return eal ? reinterpret_cast<Function>(dlsym(eal, name)) : nullptr;
}

}  // namespace

void install() {
  Dl_info self = {};
  if (dladdr(reinterpret_cast<void*>(runExclusively), &self) == 0) return;
  // Libraries loaded from now on look for symbols in this one first.
  dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_NOW | RTLD_GLOBAL);
  fenceInBurst = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
}

Slot* takeSlot() {
  for (Slot& slot : state().slots) {
    if (!slot.taken.exchange(true)) return &slot;
  }
  return nullptr;
}

void releaseSlot(Slot* slot) { slot->taken.store(false); }

Exclusive::Exclusive() {
  State& s = state();
  s.control.lock();
  if (s.depth++ > 0) return;
  controlActive.store(true, std::memory_order_seq_cst);
  // After it every thread has either seen controlActive or shown itself busy.
  if (!fenceInBurst) membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  for (Slot& slot : s.slots) {
    while (slot.busy.load(std::memory_order_acquire) != 0) rte_pause();
  }
}

Exclusive::~Exclusive() {
  State& s = state();
  if (--s.depth == 0) {
    generation.fetch_add(1, std::memory_order_relaxed);
    controlActive.store(false, std::memory_order_release);
  }
  s.control.unlock();
}

}  // namespace lunet::quiesce

using lunet::quiesce::afterUnregister;
using lunet::quiesce::Handler;
using lunet::quiesce::handlers;
using lunet::quiesce::real;
using lunet::quiesce::runExclusively;

#define LUNET_EXPORT extern "C" __attribute__((visibility("default")))

LUNET_EXPORT int rte_intr_callback_register(const rte_intr_handle* source, rte_intr_callback_fn run, void* argument) {
  static const auto eal = real<decltype(&rte_intr_callback_register)>("rte_intr_callback_register");
  auto handler = std::make_unique<Handler>(Handler{rte_intr_fd_get(source), run, argument, nullptr, false});
  Handler* opaque = handler.get();
  {
    std::lock_guard guard(handlers().lock);
    handlers().all.push_back(std::move(handler));
  }
  const int result = eal(source, runExclusively, opaque);
  if (result != 0) handlers().forget(opaque);
  return result;
}

LUNET_EXPORT int rte_intr_callback_unregister(const rte_intr_handle* source, rte_intr_callback_fn run, void* argument) {
  static const auto eal = real<decltype(&rte_intr_callback_unregister)>("rte_intr_callback_unregister");
  Handler* handler = handlers().find(rte_intr_fd_get(source), run, argument);
  if (!handler) return eal(source, run, argument);
  const int result = eal(source, runExclusively, handler);
  if (result > 0) handlers().forget(handler);
  return result;
}

LUNET_EXPORT int rte_intr_callback_unregister_sync(const rte_intr_handle* source, rte_intr_callback_fn run, void* argument) {
  static const auto eal = real<decltype(&rte_intr_callback_unregister_sync)>("rte_intr_callback_unregister_sync");
  Handler* handler = handlers().find(rte_intr_fd_get(source), run, argument);
  if (!handler) return eal(source, run, argument);
  const int result = eal(source, runExclusively, handler);
  if (result > 0) handlers().forget(handler);
  return result;
}

LUNET_EXPORT int rte_intr_callback_unregister_pending(const rte_intr_handle* source, rte_intr_callback_fn run, void* argument,
                                                      rte_intr_unregister_callback_fn gone) {
  static const auto eal = real<decltype(&rte_intr_callback_unregister_pending)>("rte_intr_callback_unregister_pending");
  Handler* handler = handlers().find(rte_intr_fd_get(source), run, argument);
  if (!handler) return eal(source, run, argument, gone);
  handler->gone = gone;
  const int result = eal(source, runExclusively, handler, afterUnregister);
  if (result > 0) handler->cancelled = true;
  return result;
}
