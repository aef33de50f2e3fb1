#include "error.h"

#include <rte_errno.h>

#include <cstdlib>
#include <cstring>

#include "eal.h"

namespace lunet {

std::string errnoName(int error) {
  const char* name = strerrorname_np(std::abs(error));
  return name ? name : "E" + std::to_string(std::abs(error));
}

Failure failed(const std::string& what, int error, const std::string& hint) {
  const int number = std::abs(error);
  std::string message = what;
  if (number != 0) message += std::string(": ") + rte_strerror(number);
  const std::string log = eal::takeLog();
  if (!log.empty()) message += " (DPDK: " + log + ")";
  if (!hint.empty()) message += ". " + hint;
  return {number != 0 ? errnoName(number) : "ERR_LUNET_DPDK", message};
}

Napi::Value raise(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value typeError(Napi::Env env, const char* usage) {
  Napi::TypeError error = Napi::TypeError::New(env, usage);
  error.Set("code", Napi::String::New(env, "ERR_INVALID_ARG_TYPE"));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace lunet
