// SPDX-License-Identifier: Apache-2.0
// A raw NETLINK_ROUTE socket on libuv. It moves datagrams and knows nothing of what is in them.
#pragma once

#include <napi.h>

namespace lunet {

/** Adds `openNetlink(groups, onMessage, onOverrun)` to the addon's exports. */
void initNetlink(Napi::Env env, Napi::Object exports);

}  // namespace lunet
