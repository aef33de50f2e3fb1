// Shared-memory interfaces: their socket files, and waking up from their rings.
#pragma once

#include <string>

#include "error.h"

namespace lunet {

class Port;

namespace memif {

/** Removes the socket file of a server that is gone. EADDRINUSE when somebody listens on it. */
Outcome clearStaleSocket(const std::string& path);

/**
 * Asks the peer to signal frames (the driver polls and has it keep quiet). Returns the file descriptor that becomes
 * readable, -1 when the ring cannot be found. Frames that came before make it readable at once.
 */
int unmaskInterrupt(Port& port);
void maskInterrupt(Port& port);
/** The peer will not signal (any more): it was never asked to, or it went and a new one has come. */
bool interruptMasked(const Port& port);

}  // namespace memif
}  // namespace lunet
