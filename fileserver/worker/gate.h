/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate that every request on a data lane passes before its handler runs: from the numbers in it to objects in use,
 * and the one place that decides whether they may be used so. It asks, in this order:
 *
 *	the share's mode: a change of a read-only share is -EROFS
 *	that the objects are there, and of the kind that the operation works on
 *	what the server is steered by (protect.h): -EPERM, or -ENOENT where even that it is there is kept back
 *	that every name which the guest's kernel may go by still leads there (nodes_check()): -ESTALE
 *	room for what is made (space.h): -ENOSPC
 *
 * What a row's objects are needed for stands in the table (protocol/ops.def, OBJECT).
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

/* First: whether the share's mode allows it. reader: the request has been decoded out of it. */
int gate_enter(const struct call *call, const struct proto_reader *reader);

/*
 * Then one for each object of the row, in its order. 0; -ESTALE, -EBADF: not there; or what the need says of another
 * kind. A name belongs to the node before it.
 */
int gate_node(struct call *call, enum gate_need need, uint64_t id, struct pinned **ret_pinned);
int gate_handle(struct call *call, enum gate_need need, uint64_t id, struct handle **ret_handle);
int gate_name(struct call *call, enum gate_need need, const struct proto_name *name, const char **ret_name);

/* Then the questions about what they name. After 0 each node has a descriptor. */
int gate_pass(struct call *call, const struct proto_reader *reader);

/* Puts back what was taken, however far it came. */
void gate_leave(struct call *call);
