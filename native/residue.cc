#include "residue.h"

#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

namespace lunet::residue {

namespace {

struct Registry {
  std::mutex lock;
  std::set<std::string> files;
  std::map<const void*, std::function<void()>> cleanUps;
};

void atExit();

// Never destroyed, so that it outlives every exit handler.
Registry& registry() {
  static Registry* instance = [] {
    atexit(atExit);
    return new Registry;
  }();
  return *instance;
}

// Other threads may still be in a burst: nothing here touches ports or their memory.
void atExit() {
  Registry& r = registry();
  std::lock_guard guard(r.lock);
  for (const std::string& path : r.files) unlink(path.c_str());
  for (auto& entry : r.cleanUps) entry.second();
  r.files.clear();
  r.cleanUps.clear();
}

}  // namespace

void addFile(const std::string& path) {
  std::lock_guard guard(registry().lock);
  registry().files.insert(path);
}

void removeFile(const std::string& path) {
  std::lock_guard guard(registry().lock);
  if (registry().files.erase(path) > 0) unlink(path.c_str());
}

void add(const void* owner, std::function<void()> cleanUp) {
  std::lock_guard guard(registry().lock);
  registry().cleanUps[owner] = std::move(cleanUp);
}

void forget(const void* owner) {
  std::lock_guard guard(registry().lock);
  registry().cleanUps.erase(owner);
}

}  // namespace lunet::residue
