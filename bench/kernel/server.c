// Waits until a message is whole and answers with the same bytes.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ends.h"
#include "waiter.h"

enum { MOST_ITEMS = 256, ROOM_BYTES = 256 * 1024 };

/** Received bytes on their way back: [sent, complete) are whole messages, [complete, used) the beginning of one. */
struct connection {
  int fd;
  bool blocked;
  struct framer framer;
  uint8_t *bytes;
  size_t capacity;
  size_t sent;
  size_t complete;
  size_t used;
};

static void end_connection(struct waiter *waiter, struct connection *c) {
  waiter_remove(waiter, c->fd, c);
  close(c->fd);
  free(c->bytes);
  free(c);
}

static void make_room(struct connection *c) {
  if (c->sent > 0) {
    memmove(c->bytes, c->bytes + c->sent, c->used - c->sent);
    c->used -= c->sent;
    c->complete -= c->sent;
    c->sent = 0;
  }
  if (c->capacity - c->used >= ROOM_BYTES / 2) return;
  c->capacity = c->capacity == 0 ? ROOM_BYTES : c->capacity * 2;
  c->bytes = realloc(c->bytes, c->capacity);
  if (c->bytes == NULL) die("no memory for a message");
}

/** Sends what is complete. False when the connection is over. */
static bool answer(struct waiter *waiter, struct connection *c) {
  while (c->sent < c->complete) {
    const ssize_t n = send(c->fd, c->bytes + c->sent, c->complete - c->sent, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) return false;
      if (!c->blocked) waiter_want(waiter, c->fd, c, WANT_OUTPUT);
      c->blocked = true;
      return true;
    }
    c->sent += (size_t)n;
  }
  if (c->blocked) waiter_want(waiter, c->fd, c, WANT_INPUT);
  c->blocked = false;
  return true;
}

/** Receives once and answers. False when the connection is over. */
static bool serve(struct waiter *waiter, struct connection *c) {
  if (c->blocked) return answer(waiter, c);
  if (c->sent == c->used) c->sent = c->complete = c->used = 0;
  if (c->capacity - c->used < ROOM_BYTES / 2) make_room(c);
  const ssize_t n = recv(c->fd, c->bytes + c->used, c->capacity - c->used, 0);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) return false;
  ptrdiff_t at = (ptrdiff_t)c->used;
  c->used += (size_t)n;
  while ((at = framer_next(&c->framer, c->bytes, at, (ptrdiff_t)c->used)) >= 0) c->complete = (size_t)at;
  return !c->framer.bad && answer(waiter, c);
}

static void accept_all(struct waiter *waiter, int listener, enum wait_mode mode) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) return;
      die("accept: %s", strerror(errno));
    }
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) die("no memory for a connection");
    c->fd = fd;
    make_room(c);
    prepare_socket(fd, mode);
    waiter_add(waiter, fd, c);
  }
}

static unsigned local_port(int fd) {
  struct sockaddr_storage own;
  socklen_t bytes = sizeof own;
  if (getsockname(fd, (struct sockaddr *)&own, &bytes) != 0) die("getsockname: %s", strerror(errno));
  // The port lies at the same place in both families' addresses.
  const uint8_t *port = (const uint8_t *)&own + 2;
  return (unsigned)port[0] << 8 | port[1];
}

void run_server(enum wait_mode mode, const char *address, const char *port) {
  const int listener = open_listener(address, port);
  struct waiter *waiter = waiter_open(mode);
  waiter_add(waiter, listener, NULL);
  printf("{\"port\":%u}\n", local_port(listener));
  fflush(stdout);
  void *items[MOST_ITEMS];
  for (unsigned turn = 0;; turn++) {
    const int count = waiter_next(waiter, items, MOST_ITEMS, -1);
    for (int i = 0; i < count; i++) {
      struct connection *c = items[i];
      // A busy server with connections looks for new ones seldom: accept costs a system call each time.
      if (c == NULL) {
        if (mode == WAIT_EPOLL || count == 1 || turn % 1024 == 0) accept_all(waiter, listener, mode);
      } else if (!serve(waiter, c)) {
        end_connection(waiter, c);
      }
    }
  }
}
