// lunet's native shim. What it exports is declared in src/host/link/native.ts.

#include <napi.h>
#include <rte_version.h>

#include "eal.h"
#include "iface.h"
#include "netlink.h"
#include "port_js.h"
#include "thread.h"
#include "zones.h"

namespace lunet {

namespace {

Napi::Value jsInterfaceInfo(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  InterfaceInfo info;
  const std::string name = call.Length() > 0 && call[0].IsString() ? call[0].As<Napi::String>().Utf8Value() : "";
  if (const Outcome failure = interfaceInfo(name, &info)) return raise(env, *failure);
  Napi::Object result = Napi::Object::New(env);
  result.Set("index", info.index);
  result.Set("mac", Napi::Buffer<uint8_t>::Copy(env, info.mac.data(), info.mac.size()));
  result.Set("mtu", info.mtu);
  result.Set("up", info.up);
  result.Set("driver", info.driver);
  result.Set("queues", info.queues);
  return result;
}

Napi::Value jsPinThread(const Napi::CallbackInfo& call) {
  const int cpu = call.Length() > 0 && call[0].IsNumber() ? call[0].As<Napi::Number>().Int32Value() : -1;
  if (const Outcome failure = pinThread(cpu)) return raise(call.Env(), *failure);
  return call.Env().Undefined();
}

/** adviseHugepages(memory: WebAssembly.Memory) → whether the kernel takes the advice */
Napi::Value jsAdviseHugepages(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const Napi::Value buffer =
      call.Length() > 0 && call[0].IsObject() ? call[0].As<Napi::Object>().Get("buffer") : env.Undefined();
  if (!buffer.IsArrayBuffer()) return typeError(env, "adviseHugepages(memory: WebAssembly.Memory)");
  auto memory = buffer.As<Napi::ArrayBuffer>();
  return Napi::Boolean::New(env, Zones::adviseHugepages(static_cast<uint8_t*>(memory.Data()), memory.ByteLength()));
}

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("dpdkVersion", rte_version());
  exports.Set("interfaceInfo", Napi::Function::New(env, jsInterfaceInfo, "interfaceInfo"));
  exports.Set("adviseHugepages", Napi::Function::New(env, jsAdviseHugepages, "adviseHugepages"));
  exports.Set("pinThread", Napi::Function::New(env, jsPinThread, "pinThread"));
  exports.Set("threadCpuSeconds", Napi::Function::New(
                                      env,
                                      [](const Napi::CallbackInfo& call) -> Napi::Value {
                                        return Napi::Number::New(call.Env(), threadCpuSeconds());
                                      },
                                      "threadCpuSeconds"));
  exports.Set("freeHugepages", Napi::Function::New(
                                   env,
                                   [](const Napi::CallbackInfo& call) -> Napi::Value {
                                     return Napi::Number::New(call.Env(), eal::freeHugepages());
                                   },
                                   "freeHugepages"));
  initPort(env, exports);
  initNetlink(env, exports);
  return exports;
}

}  // namespace lunet

static Napi::Object initAddon(Napi::Env env, Napi::Object exports) { return lunet::init(env, exports); }

NODE_API_MODULE(NODE_GYP_MODULE_NAME, initAddon)
