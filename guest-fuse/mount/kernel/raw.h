/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that libfuse 3.14 does not know, or handles in a way that is of no use here: answered before it sees them.
 */
#pragma once

#include <stdbool.h>

struct thread;

/* True: the thread's request is one of them, and was answered. */
bool raw_process(struct thread *thread);
