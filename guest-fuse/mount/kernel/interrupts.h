/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that waits for the mount can be killed.
 *
 * The kernel sends INTERRUPT for the first signal that a waiting thread gets, and then waits for the answer whatever
 * further signals come. So the request is marked, and the keeper looks in /proc whether its thread is to die. Only then
 * is it answered with EINTR: as on a local file system, other signals do not interrupt file operations.
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

/* A thread has read an INTERRUPT for the request with this number. */
void interrupts_arrived(struct interrupts *interrupts, uint64_t unique);
/* After request_begin(): marks the request when its INTERRUPT was read before it. */
void interrupts_arrived_early(struct interrupts *interrupts, struct request *request);
/*
 * The keeper: answers requests whose threads are to die. unread: no thread reads INTERRUPTs now, so that the threads of
 * all requests that wait long are looked at. True: call again in INTERRUPTS_POLL_MS.
 */
bool interrupts_serve(struct interrupts *interrupts, bool unread);

/* By /proc: SIGKILL is pending for the thread, or it has ended or is about to. */
bool interrupts_thread_dies(pid_t pid);
