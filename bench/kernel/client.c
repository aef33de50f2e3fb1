// Keeps requests in flight and measures how long each takes.

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ends.h"
#include "histogram.h"
#include "waiter.h"

enum { MOST_ITEMS = 256, RECEIVE_BYTES = 256 * 1024 };
/** How long requests in flight may take to be answered after the measured time. */
static const uint64_t DRAIN_NS = 2000000000u;

enum phase { WARM_UP, MEASURE, DRAIN };

/**
 * The requests lie one behind the other in the order they are sent; responses come in the same order, so the bytes
 * received are that buffer over and over, and the requests that a piece of responses frees are one region of it.
 */
struct flow {
  int fd;
  bool blocked;
  struct framer framer;
  uint8_t *requests;
  uint32_t *ids;
  uint64_t *sent_at;
  /** Slot whose response is due. */
  uint32_t slot;
  uint32_t in_flight;
  size_t verify_at;
  /** Offset of the next byte to send, and how many are to be sent from there, around the end of the buffer. */
  size_t send_at;
  size_t unsent;
};

static struct workload load;
static struct waiter *waiter;
static struct histogram histogram;
static enum phase phase = WARM_UP;
static uint64_t rpcs;
static uint64_t in_flight;

static void flow_open(struct flow *flow, enum wait_mode mode, const char *address, const char *port) {
  const size_t bytes = (size_t)load.size_bytes * load.depth;
  flow->requests = malloc(bytes);
  flow->ids = malloc(load.depth * sizeof *flow->ids);
  flow->sent_at = malloc(load.depth * sizeof *flow->sent_at);
  if (flow->requests == NULL || flow->ids == NULL || flow->sent_at == NULL) die("no memory for the requests");
  for (uint32_t slot = 0; slot < load.depth; slot++) {
    uint8_t *request = flow->requests + (size_t)slot * load.size_bytes;
    put32(request, load.size_bytes);
    put32(request + 4, slot);
    for (uint32_t i = HEADER_BYTES; i < load.size_bytes; i++) request[i] = body_byte(i);
    flow->ids[slot] = slot;
  }
  flow->fd = open_connection(address, port);
  prepare_socket(flow->fd, mode);
  waiter_add(waiter, flow->fd, flow);
}

static void flow_send(struct flow *flow) {
  const size_t whole = (size_t)load.size_bytes * load.depth;
  while (flow->unsent > 0) {
    const size_t until_end = whole - flow->send_at;
    const size_t first = flow->unsent < until_end ? flow->unsent : until_end;
    struct iovec pieces[2] = {{flow->requests + flow->send_at, first}, {flow->requests, flow->unsent - first}};
    const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = first < flow->unsent ? 2 : 1};
    const ssize_t n = sendmsg(flow->fd, &message, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) die("write: %s", strerror(errno));
      if (!flow->blocked) waiter_want(waiter, flow->fd, flow, WANT_BOTH);
      flow->blocked = true;
      return;
    }
    flow->unsent -= (size_t)n;
    flow->send_at = (flow->send_at + (size_t)n) % whole;
  }
  if (flow->blocked) waiter_want(waiter, flow->fd, flow, WANT_INPUT);
  flow->blocked = false;
}

static void flow_start(struct flow *flow) {
  const uint64_t now = now_ns();
  for (uint32_t slot = 0; slot < load.depth; slot++) flow->sent_at[slot] = now;
  flow->in_flight = load.depth;
  in_flight += load.depth;
  flow->unsent = (size_t)load.size_bytes * load.depth;
  flow_send(flow);
}

static void flow_verify(struct flow *flow, const uint8_t *bytes, size_t length) {
  const size_t whole = (size_t)load.size_bytes * load.depth;
  while (length > 0) {
    const size_t n = length < whole - flow->verify_at ? length : whole - flow->verify_at;
    if (memcmp(bytes, flow->requests + flow->verify_at, n) != 0) die("a response differs from its request");
    bytes += n;
    length -= n;
    flow->verify_at = (flow->verify_at + n) % whole;
  }
}

/** Receives once; every response is followed by the next request until the measured time is over. */
static void flow_receive(struct flow *flow, uint64_t *now) {
  static uint8_t bytes[RECEIVE_BYTES];
  const ssize_t n = recv(flow->fd, bytes, sizeof bytes, 0);
  if (n == 0) die("the server closed a connection");
  if (n < 0) {
    if (errno == EAGAIN) return;
    die("read: %s", strerror(errno));
  }
  *now = now_ns();
  if (load.verify) flow_verify(flow, bytes, (size_t)n);
  for (ptrdiff_t at = 0; (at = framer_next(&flow->framer, bytes, at, n)) >= 0;) {
    const uint32_t slot = flow->slot;
    if (flow->framer.id != flow->ids[slot] || flow->framer.length != load.size_bytes || flow->in_flight == 0) {
      die("a response carries id %u, length %u: not what was asked", flow->framer.id, flow->framer.length);
    }
    flow->slot = slot + 1 == load.depth ? 0 : slot + 1;
    flow->in_flight--;
    in_flight--;
    if (phase == MEASURE) {
      rpcs++;
      histogram_record(&histogram, *now - flow->sent_at[slot]);
    }
    if (phase == DRAIN) continue;
    flow->ids[slot] += 1u << SLOT_BITS;
    put32(flow->requests + (size_t)slot * load.size_bytes + 4, flow->ids[slot]);
    flow->sent_at[slot] = *now;
    flow->in_flight++;
    in_flight++;
    flow->unsent += load.size_bytes;
  }
  if (flow->framer.bad) die("a response has a length out of bounds");
  if (flow->unsent > 0) flow_send(flow);
}

/** Handles what comes until `deadline` (nanoseconds), or until nothing is in flight any more. Returns the time. */
static uint64_t turn_until(uint64_t deadline) {
  void *items[MOST_ITEMS];
  for (uint64_t now = now_ns();;) {
    if (now >= deadline || in_flight == 0) return now;
    const int count = waiter_next(waiter, items, MOST_ITEMS, (int)((deadline - now) / 1000000 + 1));
    const uint64_t before = now;
    for (int i = 0; i < count; i++) {
      struct flow *flow = items[i];
      // A server that waits for us to read does not read either: never only the one or the other.
      if (flow->blocked) flow_send(flow);
      flow_receive(flow, &now);
    }
    if (now == before) now = now_ns();
  }
}

void run_client(enum wait_mode mode, const char *address, const char *port, const struct workload *workload) {
  load = *workload;
  waiter = waiter_open(mode);
  struct flow *flows = calloc(load.connections, sizeof *flows);
  if (flows == NULL) die("no memory for %u connections", load.connections);
  for (uint32_t i = 0; i < load.connections; i++) flow_open(&flows[i], mode, address, port);
  for (uint32_t i = 0; i < load.connections; i++) flow_start(&flows[i]);
  uint64_t now = turn_until(now_ns() + (uint64_t)llround(load.warmup_seconds * 1e9));
  puts("{\"measuring\":true}");
  fflush(stdout);
  const double cpu_before = cpu_seconds();
  const uint64_t begin = now = now_ns();
  phase = MEASURE;
  now = turn_until(begin + (uint64_t)llround(load.seconds * 1e9));
  phase = DRAIN;
  const double cpu = cpu_seconds() - cpu_before;
  turn_until(now + DRAIN_NS);
  printf("{\"seconds\":%.9f,\"rpcs\":%llu,\"errors\":%llu,\"cpuSeconds\":%.6f,\"latencyNs\":", (double)(now - begin) / 1e9,
         (unsigned long long)rpcs, (unsigned long long)in_flight, cpu);
  histogram_print(&histogram);
  puts("}");
}
