// RPCs on the kernel's TCP without a runtime in between: what knbench's stacks kernel:epoll and kernel:busy run.
//
//   rpc server epoll|busy ADDRESS PORT
//   rpc client epoll|busy ADDRESS PORT SIZE DEPTH CONNECTIONS WARMUP_SECONDS SECONDS VERIFY

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "ends.h"

static uint32_t number(const char *text, uint32_t least, uint32_t most) {
  char *end;
  const unsigned long value = strtoul(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < least || value > most) die("\"%s\" is not %u to %u", text, least, most);
  return (uint32_t)value;
}

int main(int argc, char **argv) {
  // The benchmark that started us ends us too, however it ends itself.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const bool server = argc == 5 && strcmp(argv[1], "server") == 0;
  const bool client = argc == 11 && strcmp(argv[1], "client") == 0;
  if (!server && !client) die("usage: %s server|client epoll|busy ADDRESS PORT …", argv[0]);
  const bool busy = strcmp(argv[2], "busy") == 0;
  if (!busy && strcmp(argv[2], "epoll") != 0) die("epoll or busy, not \"%s\"", argv[2]);
  const enum wait_mode mode = busy ? WAIT_BUSY : WAIT_EPOLL;
  if (server) run_server(mode, argv[3], argv[4]);
  const struct workload workload = {
      .size_bytes = number(argv[5], MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES),
      .depth = number(argv[6], 1, MAX_DEPTH),
      .connections = number(argv[7], 1, 65535),
      .warmup_seconds = strtod(argv[8], NULL),
      .seconds = strtod(argv[9], NULL),
      .verify = number(argv[10], 0, 1) == 1,
  };
  run_client(mode, argv[3], argv[4], &workload);
  return 0;
}
