#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, BUSY_POLL_US = 50 };

static uint32_t get32(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void put32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

ptrdiff_t framer_next(struct framer *framer, const uint8_t *bytes, ptrdiff_t at, ptrdiff_t end) {
  if (framer->missing == 0) {
    while (at < end && framer->header_got < HEADER_BYTES) framer->header[framer->header_got++] = bytes[at++];
    if (framer->header_got < HEADER_BYTES) return -1;
    framer->header_got = 0;
    framer->length = get32(framer->header);
    framer->id = get32(framer->header + 4);
    if (framer->length < MIN_MESSAGE_BYTES || framer->length > MAX_MESSAGE_BYTES) {
      framer->bad = true;
      return -1;
    }
    framer->missing = framer->length - HEADER_BYTES;
  }
  if (end - at < framer->missing) {
    framer->missing -= (uint32_t)(end - at);
    return -1;
  }
  at += framer->missing;
  framer->missing = 0;
  return at;
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

void prepare_socket(int fd, enum wait_mode mode) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY: %s", strerror(errno));
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) die("O_NONBLOCK: %s", strerror(errno));
  if (mode == WAIT_BUSY) {
    // Only devices with NAPI heed it, and only privileged processes may ask: it helps where it can.
    const int microseconds = BUSY_POLL_US;
    (void)setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &microseconds, sizeof microseconds);
  }
}

static struct addrinfo *resolve(const char *address, const char *port) {
  const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found;
  const int error = getaddrinfo(address, port, &hints, &found);
  if (error != 0) die("%s port %s: %s", address, port, gai_strerror(error));
  return found;
}

int open_listener(const char *address, const char *port) {
  struct addrinfo *own = resolve(address, port);
  const int fd = socket(own->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, own->ai_addr, own->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
    die("listen on %s port %s: %s", address, port, strerror(errno));
  }
  freeaddrinfo(own);
  return fd;
}

int open_connection(const char *address, const char *port) {
  struct addrinfo *server = resolve(address, port);
  const int fd = socket(server->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, server->ai_addr, server->ai_addrlen) != 0) {
    die("connect to %s port %s: %s", address, port, strerror(errno));
  }
  freeaddrinfo(server);
  return fd;
}
