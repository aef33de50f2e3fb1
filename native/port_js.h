// A port as JavaScript sees it.
#pragma once

#include <napi.h>

namespace lunet {

/** Adds `openPort(options)` to the addon's exports. */
void initPort(Napi::Env env, Napi::Object exports);

}  // namespace lunet
