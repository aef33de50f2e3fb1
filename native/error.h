// Failures as values: nothing in the shim throws a C++ exception, so none can cross into JavaScript.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

namespace lunet {

struct Failure {
  /** Node-style: an errno name (ENOMEM) or ERR_LUNET_…. */
  std::string code;
  std::string message;
};

/** Empty on success. */
using Outcome = std::optional<Failure>;

/** "ENOMEM" for 12; "E<n>" for a number without a name. */
std::string errnoName(int error);

/**
 * A failed DPDK or system call: what was tried, the text of `error`, what DPDK logged about it, what to try.
 * @param error errno value, of either sign
 */
Failure failed(const std::string& what, int error, const std::string& hint = "");

/** Makes `failure` the pending JavaScript exception. */
Napi::Value raise(Napi::Env env, const Failure& failure);

/** A wrong argument: `usage` says how the call is made. */
Napi::Value typeError(Napi::Env env, const char* usage);

}  // namespace lunet
