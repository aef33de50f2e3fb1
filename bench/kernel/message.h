// The message of knbench (src/host/knbench/frame.ts), and what both ends need of sockets.
//
//   0        4    8
//   ├ length ┼ id ┼ body … length bytes in all, integers little-endian

#ifndef LUNET_BENCH_MESSAGE_H
#define LUNET_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HEADER_BYTES = 8,
  MIN_MESSAGE_BYTES = 16,
  MAX_MESSAGE_BYTES = 16 * 1024 * 1024,
  MAX_DEPTH = 1024,
  /** An id is a slot in its low bits and the number of its use above. */
  SLOT_BITS = 10,
};

/** How an end waits: in epoll_wait(2), or never, asking its sockets again and again. */
enum wait_mode { WAIT_EPOLL, WAIT_BUSY };

/** Finds message borders in a byte stream that arrives in pieces of any size. All zero when new. */
struct framer {
  /** Bytes of the current message still to come; 0 while its header is incomplete. */
  uint32_t missing;
  uint32_t header_got;
  uint8_t header[HEADER_BYTES];
  /** Of the message that ended last. */
  uint32_t length;
  uint32_t id;
  /** The stream is not ours: a length out of bounds. */
  bool bad;
};

/** The offset just after the message that ends in [at, end), or -1 when none does (or the stream is bad). */
ptrdiff_t framer_next(struct framer *framer, const uint8_t *bytes, ptrdiff_t at, ptrdiff_t end);

/** Byte i of a request body. */
static inline uint8_t body_byte(uint32_t i) {
  return (uint8_t)((i * 31 + 7) % 251);
}

void put32(uint8_t *at, uint32_t value);

/** CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/** Seconds of processor time of this process, user and system. */
double cpu_seconds(void);

/** Prints a message and ends the process with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/** A non-blocking socket, Nagle's algorithm off; in WAIT_BUSY the kernel is asked to poll the device too. */
void prepare_socket(int fd, enum wait_mode mode);

/** A socket that listens on, or is connected to, `address` (numeric). Ends the process when that fails. */
int open_listener(const char *address, const char *port);
int open_connection(const char *address, const char *port);

#endif
