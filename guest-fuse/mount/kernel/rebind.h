/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks up the names of files that are bound by themselves (guest-fuse/file-bind.h) at each open and each question for
 * attributes: known/file-binds.h keeps what was found. Every function runs in a thread that serves the kernel.
 */
#pragma once

#include <stdint.h>

struct client;
struct open_file;
struct proto_getattr_request;
struct thread;

/* node: known, a regular file. It goes with its name from now on. 0, -ESTALE (it has no name), -ENOMEM. */
int rebind_begin(struct client *client, uint64_t node);
/* Looks the name up anew, if it is bound. What is not there, or no file, changes nothing. */
void rebind_look(struct thread *thread, uint64_t node);
/*
 * What a question for attributes is about: request->node is the kernel's number before and the server's afterwards.
 * file: the open file that the kernel asks through, or NULL.
 */
void rebind_locate(struct thread *thread, struct proto_getattr_request *request, const struct open_file *file);
/* The server's node that a request for one of the kernel's is about. */
uint64_t rebind_target(const struct client *client, uint64_t ino);
