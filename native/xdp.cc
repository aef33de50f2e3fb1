#include "xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "eal.h"
#include "residue.h"

namespace lunet {

namespace {

constexpr const char* kProgramName = "lunet_steer";
constexpr const char* kPortsMap = "lunet_ports";
/** A killed process takes a moment to vanish; a restart right behind it waits this long. */
constexpr int kOwnerDeathAttempts = 20;
constexpr useconds_t kOwnerDeathWaitUs = 25'000;

/** Who attached a program: the words behind the port bits of its map. */
struct Owner {
  uint64_t pidNamespace;
  uint64_t startTicks;
  uint64_t pid;
};

struct Attached {
  uint32_t id = 0;
  uint32_t flags = 0;
};

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

Outcome attachedProgram(const std::string& interface, int index, Attached* attached) {
  LIBBPF_OPTS(bpf_xdp_query_opts, query);
  const int result = bpf_xdp_query(index, 0, &query);
  if (result != 0) return failed("interface " + interface + " cannot be asked for its XDP program", result);
  attached->id = query.prog_id;
  if (query.attach_mode == XDP_ATTACHED_SKB) attached->flags = XDP_FLAGS_SKB_MODE;
  if (query.attach_mode == XDP_ATTACHED_DRV) attached->flags = XDP_FLAGS_DRV_MODE;
  if (query.attach_mode == XDP_ATTACHED_HW) attached->flags = XDP_FLAGS_HW_MODE;
  return {};
}

/** The program's name, and a descriptor of its map of ports (-1 when it has none). */
Fd openPortsMap(uint32_t program, std::string* programName) {
  Fd fd(bpf_prog_get_fd_by_id(program));
  if (fd.get() < 0) return Fd(-1);
  std::vector<uint32_t> maps(16);
  bpf_prog_info info = {};
  info.nr_map_ids = static_cast<uint32_t>(maps.size());
  info.map_ids = reinterpret_cast<uint64_t>(maps.data());
  uint32_t bytes = sizeof info;
  if (bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) != 0) return Fd(-1);
  *programName = info.name;
  for (uint32_t i = 0; i < info.nr_map_ids && i < maps.size(); i++) {
    Fd map(bpf_map_get_fd_by_id(maps[i]));
    bpf_map_info mapInfo = {};
    bytes = sizeof mapInfo;
    if (map.get() >= 0 && bpf_obj_get_info_by_fd(map.get(), &mapInfo, &bytes) == 0 && strcmp(mapInfo.name, kPortsMap) == 0) {
      return map;
    }
  }
  return Fd(-1);
}

uint64_t ownPidNamespace() {
  struct stat status = {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

/** Start time of a process in clock ticks since boot, field 22 of proc(5)'s stat; 0 for a dead one or a zombie. */
uint64_t startTicks(uint64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return 0;
  // The command name, field 2, is in parentheses and may hold anything.
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream rest(line.substr(end + 1));
  std::string state;
  rest >> state;
  if (state == "Z" || state == "X") return 0;
  std::string field;
  for (int i = 4; i <= 22; i++) rest >> field;
  return strtoull(field.c_str(), nullptr, 10);
}

bool readOwner(int map, uint32_t firstWord, Owner* owner) {
  uint64_t* words[] = {&owner->pidNamespace, &owner->startTicks, &owner->pid};
  for (uint64_t* word : words) {
    const uint32_t key = firstWord++;
    if (bpf_map_lookup_elem(map, &key, word) != 0) return false;
  }
  return true;
}

bool writeOwner(int map, uint32_t firstWord, const Owner& owner) {
  for (const uint64_t word : {owner.pidNamespace, owner.startTicks, owner.pid}) {
    const uint32_t key = firstWord++;
    if (bpf_map_update_elem(map, &key, &word, BPF_ANY) != 0) return false;
  }
  return true;
}

bool alive(const Owner& owner) {
  // Another namespace's process cannot be seen: leave its program alone.
  if (owner.pidNamespace != ownPidNamespace()) return true;
  return owner.startTicks != 0 && startTicks(owner.pid) == owner.startTicks;
}

}  // namespace

Outcome XdpProgram::clearStale() {
  index_ = static_cast<int>(if_nametoindex(interface_.c_str()));
  if (index_ == 0) return Failure{"ENODEV", "there is no interface " + interface_ + ". See ip link for those there are"};
  // libbpf's words belong into the error, not onto the terminal.
  libbpf_set_print([](libbpf_print_level level, const char* format, va_list arguments) {
    char text[512];
    if (level == LIBBPF_DEBUG) return 0;
    const int length = vsnprintf(text, sizeof text, format, arguments);
    if (length > 0) eal::addLog(text);
    return length;
  });
  // The UMEM is locked memory. Where the limit cannot be raised CAP_IPC_LOCK lifts it; else the driver will say so.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);

  Attached attached;
  if (Outcome failure = attachedProgram(interface_, index_, &attached)) return failure;
  if (attached.id == 0) return {};
  std::string name;
  const Fd map = openPortsMap(attached.id, &name);
  if (name != kProgramName || map.get() < 0) {
    return Failure{"EEXIST", interface_ + " has an XDP program of somebody else (" + (name.empty() ? "unnamed" : name) +
                                 ", id " + std::to_string(attached.id) + "). Take it off with: ip link set " + interface_ +
                                 " xdp off"};
  }
  Owner owner = {};
  for (int i = 0; readOwner(map.get(), kPortWords, &owner) && owner.pid != 0 && alive(owner); i++) {
    if (i == kOwnerDeathAttempts) {
      return Failure{"EBUSY", interface_ + " is used by lunet in process " + std::to_string(owner.pid) +
                                  ". End it, or use another interface"};
    }
    usleep(kOwnerDeathWaitUs);
  }
  const int result = bpf_xdp_detach(index_, attached.flags, nullptr);
  if (result != 0) return failed("the XDP program a dead process left on " + interface_ + " cannot be taken off", result);
  return {};
}

Outcome XdpProgram::takeOver() {
  Attached attached;
  if (Outcome failure = attachedProgram(interface_, index_, &attached)) return failure;
  std::string name;
  Fd ports = attached.id == 0 ? Fd(-1) : openPortsMap(attached.id, &name);
  if (name != kProgramName || ports.get() < 0) {
    return Failure{"ERR_LUNET_XDP", "the driver did not attach lunet's XDP program to " + interface_};
  }
  const uint64_t pid = static_cast<uint64_t>(getpid());
  if (!writeOwner(ports.get(), kPortWords, {ownPidNamespace(), startTicks(pid), pid})) {
    return failed("the XDP program's owner cannot be set", errno);
  }
  program_ = attached.id;
  portsMap_ = ports.release();
  const int index = index_;
  const uint32_t program = program_;
  residue::add(this, [index, program] {
    Attached now;
    if (!attachedProgram("", index, &now) && now.id == program) bpf_xdp_detach(index, now.flags, nullptr);
  });
  if (Outcome failure = writePorts(0, kPortWords - 1)) return failure;
  return writePorts(kUdpFirstWord, kUdpFirstWord + kPortWords - 1);
}

Outcome XdpProgram::steer(Protocol protocol, uint16_t first, uint16_t last, bool on) {
  const uint32_t base = protocol == Protocol::kUdp ? kUdpFirstWord : 0;
  for (uint32_t port = first; port <= last; port++) {
    const uint64_t bit = 1ull << (port % 64);
    uint64_t& word = words_[base + port / 64];
    word = on ? word | bit : word & ~bit;
  }
  return portsMap_ < 0 ? Outcome{} : writePorts(base + first / 64, base + last / 64);
}

Outcome XdpProgram::writePorts(uint32_t firstWord, uint32_t lastWord) {
  for (uint32_t word = firstWord; word <= lastWord; word++) {
    if (bpf_map_update_elem(portsMap_, &word, &words_[word], BPF_ANY) != 0) {
      return failed("the XDP program's ports cannot be set", errno);
    }
  }
  return {};
}

void XdpProgram::detach() {
  residue::forget(this);
  if (portsMap_ >= 0) close(portsMap_);
  portsMap_ = -1;
  Attached attached;
  if (program_ != 0 && !attachedProgram(interface_, index_, &attached) && attached.id == program_) {
    bpf_xdp_detach(index_, attached.flags, nullptr);
  }
  program_ = 0;
}

}  // namespace lunet
