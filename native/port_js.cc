#include "port_js.h"

#include <memory>

#include "eal.h"
#include "port.h"
#include "wakeup.h"
#include "xdp.h"

namespace lunet {

namespace {

/** A port, what it needs of its environment, and the hook that closes it when the environment ends. */
class PortHandle : public std::enable_shared_from_this<PortHandle> {
 public:
  PortHandle(Napi::Env env, PortOptions options) : env_(env), port_(std::move(options)), wakeup_(env) {}
  PortHandle(const PortHandle&) = delete;
  PortHandle& operator=(const PortHandle&) = delete;

  Outcome open() {
    if (Outcome failure = port_.open()) return failure;
    self_ = shared_from_this();
    napi_add_async_cleanup_hook(env_, environmentEnds, this, &hook_);
    return {};
  }

  void close() {
    if (!self_) return;
    // Keeps this object alive to the end of the call.
    const std::shared_ptr<PortHandle> self = std::move(self_);
    wakeup_.close();
    port_.close();
    memory_.Reset();
    buffer_.Reset();
    napi_remove_async_cleanup_hook(hook_);
  }

  /** V8 would collect a memory that only the driver uses, and the driver would write into nothing. */
  void hold(Napi::Object memory, Napi::ArrayBuffer buffer) {
    memory_ = Napi::Persistent(memory);
    buffer_ = Napi::Persistent(buffer);
  }

  Port& port() { return port_; }
  Wakeup& wakeup() { return wakeup_; }

 private:
  static void environmentEnds(napi_async_cleanup_hook_handle, void* arg) { static_cast<PortHandle*>(arg)->close(); }

  Napi::Env env_;
  Port port_;
  Wakeup wakeup_;
  Napi::ObjectReference memory_;
  Napi::Reference<Napi::ArrayBuffer> buffer_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  /** Held while the port is open. */
  std::shared_ptr<PortHandle> self_;
};

using Handle = std::shared_ptr<PortHandle>;

std::string text(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
}

uint32_t number(const Napi::Object& options, const char* name, uint32_t otherwise) {
  const Napi::Value value = options.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : otherwise;
}

bool flag(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

PortOptions readOptions(const Napi::Object& from) {
  PortOptions options;
  options.driver = text(from, "driver");
  options.args = text(from, "args");
  options.pci = text(from, "pci");
  options.socketPath = text(from, "socketPath");
  options.xdpInterface = text(from, "xdpInterface");
  options.memif = flag(from, "memif");
  const std::string stream = text(from, "stream");
  options.stream = stream == "on" ? memif::Stream::kAlways : stream == "off" ? memif::Stream::kNever : memif::Stream::kFar;
  options.forceMultiSegment = flag(from, "forceMultiSegment");
  options.checksums = flag(from, "checksums");
  options.tso = flag(from, "tso");
  const std::string hugepages = text(from, "hugepages");
  options.requireHugepages = hugepages == "require";
  options.forbidHugepages = hugepages == "forbid";
  options.pages = number(from, "pages", 0);
  options.frameBytes = number(from, "frameBytes", 0);
  options.driverHeadroom = number(from, "driverHeadroom", 0);
  options.maxObjectBytes = number(from, "maxObjectBytes", 0);
  options.minObjects = number(from, "minObjects", 0);
  options.burst = number(from, "burst", options.burst);
  options.rxDescriptors = static_cast<uint16_t>(number(from, "rxDescriptors", 0));
  options.txDescriptors = static_cast<uint16_t>(number(from, "txDescriptors", 0));
  options.setMtu = static_cast<uint16_t>(number(from, "setMtu", 0));
  options.tapInterface = text(from, "tapInterface");
  options.rxFlags = number(from, "rxFlags", 0);
  return options;
}

/** attach({ memory, arenaEnd, zoneCount, rxZones }) → { zoneBase, base, stride, count, hugepages, iovaIsVirtual } */
Napi::Value attach(const Handle& handle, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  constexpr const char* kUsage = "attach({ memory: WebAssembly.Memory, arenaEnd, zoneCount, rxZones })";
  if (info.Length() != 1 || !info[0].IsObject()) return typeError(env, kUsage);
  const auto placement = info[0].As<Napi::Object>();
  if (!placement.Get("memory").IsObject()) return typeError(env, kUsage);
  const auto memory = placement.Get("memory").As<Napi::Object>();
  if (!memory.Get("buffer").IsArrayBuffer()) return typeError(env, kUsage);
  auto buffer = memory.Get("buffer").As<Napi::ArrayBuffer>();

  Zones::Request request;
  request.wasmBase = static_cast<uint8_t*>(buffer.Data());
  request.wasmBytes = buffer.ByteLength();
  request.arenaEnd = number(placement, "arenaEnd", 0);
  request.count = number(placement, "zoneCount", 0);
  const uint32_t rxZones = number(placement, "rxZones", 0);
  if (rxZones == 0 || rxZones > request.count) return typeError(env, kUsage);
  Port& port = handle->port();
  if (!port.isOpen() || port.zones().placed()) return raise(env, {"ERR_LUNET_STATE", "attach() is called once, on an open link"});
  handle->hold(memory, buffer);
  if (const Outcome failure = port.attach(request, rxZones)) return raise(env, *failure);

  Napi::Object result = Napi::Object::New(env);
  result.Set("zoneBase", port.zones().base());
  result.Set("base", port.pool().base());
  result.Set("stride", port.pool().stride());
  result.Set("count", port.pool().count());
  result.Set("hugepages", port.zones().aliased());
  return result;
}

Napi::Value stats(const Handle& handle, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Port& port = handle->port();
  Napi::Object result = Napi::Object::New(env);
  auto set = [&](const char* name, uint64_t value) { result.Set(name, static_cast<double>(value)); };
  rte_eth_stats driver = {};
  if (port.isOpen()) rte_eth_stats_get(port.id(), &driver);
  set("rxFrames", driver.ipackets);
  set("txFrames", driver.opackets);
  set("rxBytes", driver.ibytes);
  set("txBytes", driver.obytes);
  set("rxMissed", driver.imissed);
  set("rxErrors", driver.ierrors);
  set("rxNoObject", driver.rx_nombuf);
  set("txErrors", driver.oerrors);
  const PortCounts& counts = port.counts();
  set("txInvalid", counts.txInvalid);
  set("txDropped", counts.txDropped);
  set("txRefused", counts.txRefused);
  set("txNoSegment", counts.txNoSegment);
  set("rxLinearised", counts.rxLinearised);
  set("rxLinearisedBytes", counts.rxLinearisedBytes);
  set("rxTooLong", counts.rxTooLong);
  set("rxInvalid", counts.rxInvalid);
  set("txUnread", port.unread());
  set("txPastCacheBytes", port.pastCacheBytes());
  set("freeInvalid", counts.freeInvalid);
  set("rxLent", port.lent());
  if (port.isOpen() && port.pool().mempool()) set("rxFreeObjects", rte_mempool_avail_count(port.pool().mempool()));
  return result;
}

/** steer('tcp' or 'udp', first, last, on) */
Napi::Value steer(const Handle& handle, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  constexpr const char* kUsage = "steer(protocol: 'tcp' | 'udp', first: number, last: number, on: boolean)";
  if (info.Length() != 4 || !info[0].IsString() || !info[1].IsNumber() || !info[2].IsNumber() || !info[3].IsBoolean()) {
    return typeError(env, kUsage);
  }
  const std::string name = info[0].As<Napi::String>();
  if (name != "tcp" && name != "udp") return typeError(env, kUsage);
  const XdpProgram::Protocol protocol = name == "udp" ? XdpProgram::Protocol::kUdp : XdpProgram::Protocol::kTcp;
  const uint32_t first = info[1].As<Napi::Number>().Uint32Value();
  const uint32_t last = info[2].As<Napi::Number>().Uint32Value();
  if (first > last || last > 65535) return typeError(env, "steer: ports are 0 to 65535, the lower first");
  XdpProgram* xdp = handle->port().xdp();
  if (!xdp) return raise(env, {"ERR_LUNET_STATE", "this link shares no interface with the kernel, or is closed"});
  const bool on = info[3].As<Napi::Boolean>().Value();
  if (const Outcome failure = xdp->steer(protocol, first, last, on)) return raise(env, *failure);
  return env.Undefined();
}

/** The hot call, on the bare C interface: no wrapper object is made for it. */
napi_value burst(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  napi_value result = nullptr;
  napi_create_uint32(env, static_cast<PortHandle*>(data)->port().burst(), &result);
  return result;
}

void setBurst(Napi::Env env, Napi::Object object, const Handle& handle) {
  napi_value function;
  napi_create_function(env, "burst", NAPI_AUTO_LENGTH, burst, handle.get(), &function);
  // The function may outlive the object it was read from.
  auto* keep = new Handle(handle);
  napi_add_finalizer(
      env, function, keep, [](napi_env, void* kept, void*) { delete static_cast<Handle*>(kept); }, nullptr, nullptr);
  object.Set("burst", Napi::Value(env, function));
}

template <typename Body>
void setMethod(Napi::Env env, Napi::Object object, const char* name, const Handle& handle, Body body) {
  object.Set(name, Napi::Function::New(
                       env, [handle, body](const Napi::CallbackInfo& info) -> Napi::Value { return body(handle, info); }, name));
}

Napi::Value openPort(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() != 1 || !info[0].IsObject()) return typeError(env, "openPort(options)");
  const auto handle = std::make_shared<PortHandle>(env, readOptions(info[0].As<Napi::Object>()));
  if (const Outcome failure = handle->open()) return raise(env, *failure);
  Port& port = handle->port();

  Napi::Object object = Napi::Object::New(env);
  object.Set("driver", Napi::String::New(env, port.info().driver_name ? port.info().driver_name : ""));
  object.Set("multiSegment", Napi::Boolean::New(env, port.multiSegment()));
  object.Set("txChecksum", Napi::Boolean::New(env, port.txChecksum()));
  object.Set("rxChecksum", Napi::Boolean::New(env, port.rxChecksum()));
  object.Set("sumsInCopy", Napi::Boolean::New(env, port.sumsInCopy()));
  object.Set("tso", Napi::Boolean::New(env, port.tso()));
  object.Set("hugepages", Napi::Boolean::New(env, eal::hugepages()));
  object.Set("maxMtu", Napi::Number::New(env, port.info().max_mtu));
  rte_ether_addr mac = {};
  rte_eth_macaddr_get(port.id(), &mac);
  object.Set("mac", Napi::Buffer<uint8_t>::Copy(env, mac.addr_bytes, RTE_ETHER_ADDR_LEN));

  setBurst(env, object, handle);
  setMethod(env, object, "attach", handle, attach);
  setMethod(env, object, "start", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    if (const Outcome failure = h->port().start()) return raise(call.Env(), *failure);
    return call.Env().Undefined();
  });
  setMethod(env, object, "linkUp", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Boolean::New(call.Env(), h->port().linkUp());
  });
  setMethod(env, object, "reconnect", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Boolean::New(call.Env(), h->port().reconnect());
  });
  setMethod(env, object, "hasBacklog", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Boolean::New(call.Env(), h->port().hasBacklog());
  });
  setMethod(env, object, "armWakeup", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    if (call.Length() != 1 || !call[0].IsFunction()) return typeError(call.Env(), "armWakeup(callback)");
    return Napi::Boolean::New(call.Env(), h->wakeup().arm(h->port(), call[0].As<Napi::Function>()));
  });
  setMethod(env, object, "disarmWakeup", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    h->wakeup().disarm(h->port());
    return call.Env().Undefined();
  });
  setMethod(env, object, "wakeupStale", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Boolean::New(call.Env(), h->wakeup().stale(h->port()));
  });
  setMethod(env, object, "stats", handle, stats);
  setMethod(env, object, "steer", handle, steer);
  setMethod(env, object, "close", handle, [](const Handle& h, const Napi::CallbackInfo& call) -> Napi::Value {
    h->close();
    return call.Env().Undefined();
  });
  return object;
}

}  // namespace

void initPort(Napi::Env env, Napi::Object exports) { exports.Set("openPort", Napi::Function::New(env, openPort, "openPort")); }

}  // namespace lunet
