/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At each open and each GETATTR of a bound file (known/file-binds.h) its name is looked up again, and what is found
 * becomes its target. Every function runs in a thread that serves the kernel.
 */
#pragma once

#include <stdint.h>

struct client;
struct open_file;
struct proto_getattr_request;
struct thread;

/* node, a regular file, is bound from now on. 0, -ESTALE (no name of it is known), -ENOMEM. */
int rebind_begin(struct client *client, uint64_t node);
/* Looks the name up if node is bound. When nothing is there, or no regular file, the target stays. */
void rebind_look(struct thread *thread, uint64_t node);
/*
 * What a GETATTR is about: request->node is the kernel's node before and the server's afterwards. file: the open file
 * that the kernel asks by, or NULL.
 */
void rebind_locate(struct thread *thread, struct proto_getattr_request *request, const struct open_file *file);
/* The server's node that a request for one of the kernel's is about. */
uint64_t rebind_target(const struct client *client, uint64_t ino);
