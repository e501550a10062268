/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to do after an operation: note which objects it has changed, and give back references and handles that nobody
 * needs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct directory_piece;
struct proto_attr;
struct thread;

/* A directory was changed from here; attr: its attributes afterwards, unchecked. */
void effects_directory_changed(struct thread *thread, uint64_t node, const struct proto_attr *attr);
/* An object was changed from here, and its state afterwards is not known. */
void effects_changed(struct thread *thread, uint64_t node);
/* One look-up of node that the kernel was to get, and did not take, is given back. Any thread. */
void effects_not_taken(struct client *client, uint64_t node);
/*
 * The server has no descriptor left: gives back those that are kept in reserve (known/kept.h). Then the request is to
 * be sent again, also when there were none: the server may have counted on one that is in use, and gives way then.
 */
void effects_make_room(struct thread *thread);
/* Closes a handle of the server's that nobody needs any more. */
void effects_close(struct thread *thread, uint64_t handle);
/* Gives back the references of entries that the kernel did not get, and frees the piece. Any thread. */
void effects_drop_piece(struct client *client, struct directory_piece *piece);
/* The same for entries of a piece that makes no sense, as far as they can be read. */
void effects_drop_entries(struct client *client, const uint8_t *bytes, size_t length);
