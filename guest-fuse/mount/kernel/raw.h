/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that libfuse 3.14 does not know, or knows in a way that does not serve: answered before it sees them. */
#pragma once

#include <stdbool.h>

struct thread;

/* True: the thread's request was dealt with. */
bool raw_process(struct thread *thread);
