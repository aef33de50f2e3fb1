// The two ends of knbench on the kernel's TCP.

#ifndef LUNET_BENCH_ENDS_H
#define LUNET_BENCH_ENDS_H

#include "message.h"

/** Echoes messages until the process is ended. Prints the port it listens on as a line of JSON. */
__attribute__((noreturn)) void run_server(enum wait_mode mode, const char *address, const char *port);

struct workload {
  uint32_t size_bytes;
  uint32_t depth;
  uint32_t connections;
  double warmup_seconds;
  double seconds;
  /** Compare every byte of every response. */
  bool verify;
};

/**
 * Keeps `depth` requests in flight on each connection. Prints `{"measuring":true}` when the measured time begins and a
 * line of JSON with the figures (ClientFigures of src/host/knbench/types.ts) when everything is answered.
 */
void run_client(enum wait_mode mode, const char *address, const char *port, const struct workload *workload);

#endif
