/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate that every request on a data lane passes before its handler runs. It makes pinned objects of the request's
 * numbers and is the one place that decides whether they may be used so. It checks in this order:
 *
 *	the share's mode: a change of a read-only share is -EROFS
 *	that the objects exist and are of the kind that the operation works on
 *	the protect list (protect.h): -EPERM, or -ENOENT for a name that is hidden
 *	that every name that the guest's kernel may go by still leads to the object (nodes_check()): -ESTALE
 *	room for what is made (space.h): -ENOSPC
 *
 * What a row needs its objects for is in the table (protocol/ops.def, OBJECT).
 */
#pragma once

#include "fileserver/worker/session/call.h"
#include "protocol/messages.h"

/* GATE_<kind>_<need> */
enum gate_need {
	GATE_node_any = 1,
	GATE_node_symlink,
	GATE_node_file,
	GATE_node_directory,
	GATE_node_change,
	GATE_node_link,
	GATE_node_names,
	GATE_node_make,
	GATE_handle_any,
	GATE_handle_file,
	GATE_handle_directory,
	GATE_handle_read,
	GATE_handle_write,
	GATE_handle_write_or_none,
	GATE_name_lookup,
	GATE_name_create,
	GATE_name_remove,
};

/* The first step: whether the share's mode allows the request. reader: the reader that has decoded it. */
int gate_enter(const struct call *call, const struct proto_reader *reader);

/*
 * The second step, once for each object of the row, in its order; a name belongs to the node before it. Return 0;
 * -ESTALE (node) or -EBADF (handle): no such object; or the need's error for an object of the wrong kind.
 */
int gate_node(struct call *call, enum gate_need need, uint64_t id, struct pinned **ret_pinned);
int gate_handle(struct call *call, enum gate_need need, uint64_t id, struct handle **ret_handle);
int gate_name(struct call *call, enum gate_need need, const struct proto_name *name, const char **ret_name);

/* The third step: the checks of names, protect list and room. After 0 each node has a descriptor. */
int gate_pass(struct call *call, const struct proto_reader *reader);

/* After the operation has succeeded: what the guest was told of the objects that it has changed does not count. */
void gate_done(struct call *call);

/* Puts back everything that was taken, after any of the steps. */
void gate_leave(struct call *call);
