/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side of a mount: libfuse's low-level session over the threads' own descriptors. */
#pragma once

struct client;
struct thread;

/* After client->device is there, before the threads start. 0 or -ENOMEM, -EINVAL. */
int lowlevel_new(struct client *client);
void lowlevel_free(struct client *client);

/* What a thread does with each request that it has read (threads.h). */
void lowlevel_serve(struct thread *thread);
