/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is stuck on the mount can be killed.
 *
 * The kernel sends INTERRUPT for the first signal that a waiting thread gets, and then waits for the answer whatever
 * comes. So a request that was interrupted is marked, and the keeper looks in /proc whether its thread is to die. Only
 * then does it answer with EINTR: file operations are not interrupted by other signals, as on any local file system.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { INTERRUPTS_POLL_MS = 50 };

struct interrupts;
struct pending;
struct request;

/* NULL: out of memory. */
struct interrupts *interrupts_new(struct pending *pending);
void interrupts_free(struct interrupts *interrupts);

/* A thread took INTERRUPT for the request unique. */
void interrupts_arrived(struct interrupts *interrupts, uint64_t unique);
/* Between request_begin() and the work: did the INTERRUPT come first? */
void interrupts_arrived_early(struct interrupts *interrupts, struct request *request);
/*
 * The keeper: answers requests whose threads are to die. unread: no thread reads INTERRUPT, so that whoever waits long
 * is looked at, too. True: look again in INTERRUPTS_POLL_MS.
 */
bool interrupts_serve(struct interrupts *interrupts, bool unread);

/* What /proc says of a thread: SIGKILL is pending, or it is gone or on its way out. */
bool interrupts_thread_dies(pid_t pid);
