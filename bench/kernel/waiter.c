#include "waiter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct waiter {
  enum wait_mode mode;
  int epoll;
  int count;
  /** There were once more than fit into `direct`: epoll alone knows them all. */
  bool crowded;
  void *direct[DIRECT_MOST];
};

enum { MOST_EVENTS = 256 };

struct waiter *waiter_open(enum wait_mode mode) {
  struct waiter *waiter = calloc(1, sizeof *waiter);
  if (waiter == NULL) die("no memory");
  waiter->mode = mode;
  waiter->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (waiter->epoll < 0) die("epoll_create1: %s", strerror(errno));
  return waiter;
}

static void control(struct waiter *waiter, int operation, int fd, void *item, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = item};
  if (epoll_ctl(waiter->epoll, operation, fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
}

void waiter_add(struct waiter *waiter, int fd, void *item) {
  if (waiter->count == DIRECT_MOST) waiter->crowded = true;
  if (!waiter->crowded) waiter->direct[waiter->count] = item;
  waiter->count++;
  control(waiter, EPOLL_CTL_ADD, fd, item, EPOLLIN);
}

void waiter_want(struct waiter *waiter, int fd, void *item, enum interest interest) {
  const uint32_t input = interest & WANT_INPUT ? EPOLLIN : 0;
  control(waiter, EPOLL_CTL_MOD, fd, item, input | (interest & WANT_OUTPUT ? EPOLLOUT : 0));
}

void waiter_remove(struct waiter *waiter, int fd, void *item) {
  control(waiter, EPOLL_CTL_DEL, fd, item, 0);
  waiter->count--;
  if (waiter->crowded) return;
  int i = 0;
  while (waiter->direct[i] != item) i++;
  waiter->direct[i] = waiter->direct[waiter->count];
}

int waiter_next(struct waiter *waiter, void **items, int most, int timeout_ms) {
  const bool busy = waiter->mode == WAIT_BUSY;
  if (busy && !waiter->crowded && waiter->count <= most) {
    memcpy(items, waiter->direct, (size_t)waiter->count * sizeof *items);
    return waiter->count;
  }
  struct epoll_event events[MOST_EVENTS];
  if (most > MOST_EVENTS) most = MOST_EVENTS;
  const int count = epoll_wait(waiter->epoll, events, most, busy ? 0 : timeout_ms);
  if (count < 0) {
    if (errno == EINTR) return 0;
    die("epoll_wait: %s", strerror(errno));
  }
  for (int i = 0; i < count; i++) items[i] = events[i].data.ptr;
  return count;
}
