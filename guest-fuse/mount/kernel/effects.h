/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from an operation that is done: what is known of the objects that it changed, and references and handles
 * that nobody needs, for which the server is told.
 */
#pragma once

#include <stdint.h>

struct client;
struct proto_attr;
struct thread;

/* A change from here is done to a directory, of which the server says attr. */
void effects_directory_changed(struct thread *thread, uint64_t node, const struct proto_attr *attr);
/* A change from here is done to an object, and nothing is known but that. */
void effects_changed(struct thread *thread, uint64_t node);
/* The kernel did not take one look-up of node that it was to get. Any thread. */
void effects_not_taken(struct client *client, uint64_t node);
/* A handle that nobody needs any more. */
void effects_close(struct thread *thread, uint64_t handle);
