/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE over io_uring (Linux 6.14, and the parameter fuse.enable_uring): the kernel puts a request into the queue of the
 * CPU that asks, and a thread that waits at that queue's ring gets it there, without another CPU being woken. The
 * answer goes back with the wish for the next request. FORGET, INTERRUPT and what the client tells the kernel go by way
 * of /dev/fuse as ever.
 *
 * A queue has as many entries as there may be requests at once, so that requests that wait for the server stop no other
 * one. An entry belongs to no thread: whoever waits at the ring takes the next request, whoever has an answer sends it.
 * Until then the kernel hands an entry over in the context of the thread that answered it last, which may be asleep for
 * the server, and is woken for that; it must not wait in the kernel where nothing wakes it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

struct request;
struct uring;
struct uring_entry;

enum { URING_RINGS_MAX = 16 };

/* Of flags2 in INIT: the kernel offers it, and is told that it is wanted. */
#define URING_INIT_FLAG (UINT64_C(1) << 41)

/* So many rings as a mount with this many threads can serve, each with a thread more for those that wait. May be 0. */
unsigned uring_wanted(unsigned threads);

/*
 * Makes rings that the kernel does not know yet; one serves the queues of several CPUs where there are more CPUs than
 * rings. entries: for each queue. 0 or a negative errno.
 */
int uring_new(int device, unsigned rings, unsigned entries, struct uring **ret_uring);
/* When no thread uses it any more. */
void uring_free(struct uring *uring);
unsigned uring_rings(const struct uring *uring);

/*
 * After the answer to INIT: gives the kernel all entries, whereupon requests come. Until then all who ask are kept
 * waiting. The calling thread must live as long as the mount. 0 or a negative errno: the mount is of no use.
 */
int uring_register(struct uring *uring);

/* The calling thread is to run on the CPUs of this ring. */
void uring_pin(const struct uring *uring, unsigned ring);
/* And again on all. */
void uring_unpin(const struct uring *uring);

/* Does not wait. 1: the kernel's next request lies in request, as /dev/fuse would give it; 0: there is none; or a
 * negative errno: the mount is gone. */
int uring_take(struct uring *uring, unsigned ring, struct request *request);
/*
 * For the keeper, while nobody reads the ring, which readers counts: a request that the kernel has handed over cannot
 * be taken back by whoever waits for it, so those of threads that die are answered here. What is left is there for
 * uring_take().
 */
void uring_give_up(struct uring *uring, unsigned ring, const _Atomic int *readers, bool (*dies)(pid_t pid));
/* Sleeps until there may be a request. */
void uring_wait(struct uring *uring, unsigned ring);
/* Ends each uring_wait(). Any thread. */
void uring_wake(struct uring *uring);

/* Sends the answer to the request that came with this entry, as writev(2) to /dev/fuse does. Once. Any thread that
 * lives as long as the mount. */
ssize_t uring_answer(struct uring_entry *entry, const struct iovec *iov, int count);
