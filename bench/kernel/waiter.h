// Which sockets to look at next: those epoll names, or all of them in turn.

#ifndef LUNET_BENCH_WAITER_H
#define LUNET_BENCH_WAITER_H

#include "message.h"

/** Up to this many sockets are asked directly by a busy end; more go through epoll without waiting. */
enum { DIRECT_MOST = 16 };

struct waiter;

struct waiter *waiter_open(enum wait_mode mode);

/** Watches `fd` for input; waiter_next() will answer `item` for it. */
void waiter_add(struct waiter *waiter, int fd, void *item);

/** What waiter_next() shall answer for; input at first. A busy end that asks its sockets directly tries everything. */
enum interest { WANT_INPUT = 1, WANT_OUTPUT = 2, WANT_BOTH = 3 };
void waiter_want(struct waiter *waiter, int fd, void *item, enum interest interest);

/** To be called before `fd` is closed. */
void waiter_remove(struct waiter *waiter, int fd, void *item);

/**
 * What to look at: up to `most` items, possibly without anything to read (busy). Waits up to `timeout_ms` in WAIT_EPOLL,
 * -1 without end.
 */
int waiter_next(struct waiter *waiter, void **items, int most, int timeout_ms);

#endif
