/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes from here of which the kernel was not told: the process that wanted them was killed, and its request was
 * answered before the server's answer came, or that was lost with its lane. No event tells of a change from here, so
 * what the kernel holds under a lease would stay wrong for good.
 */
#pragma once

struct thread;

/* The thread's request has ended so. */
void unheard_end(struct thread *thread);
