/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is stuck on the mount can be killed.
 *
 * The kernel sends INTERRUPT for the first signal that a waiting thread gets, and then waits for the answer whatever
 * comes. So a request that was interrupted is marked, and the keeper looks in /proc whether its thread is to die. Only
 * then does it answer with EINTR: file operations are not interrupted by other signals, as on any local file system.
 */
#pragma once

#include "guest-fuse/mount/kernel/threads.h"

enum { INTERRUPTS_POLL_MS = 50 };

/* A lane's thread took INTERRUPT for the request unique. */
void interrupts_arrived(struct lanes *lanes, uint64_t unique);
/* Between lane_begin() and the work: did the INTERRUPT come first? */
void interrupts_arrived_early(struct lanes *lanes, struct lane *lane);
/* The keeper: answers requests whose threads are to die. True: look again in INTERRUPTS_POLL_MS. */
bool interrupts_serve(struct lanes *lanes);

/* What /proc says of a thread: SIGKILL is pending, or it is gone or on its way out. */
bool interrupts_thread_dies(pid_t pid);
