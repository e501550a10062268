/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call: one request while its handler runs, with the objects that it names and where its reply goes. A handler knows
 * nothing of the lane that the request came on, so it can also run as a part of another request.
 */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"
#include "protocol/channel.h"

enum { CALL_NODES = 2, CALL_HANDLES = 2, CALL_NAMES = 2 };

struct call {
	struct session *session;
	enum proto_op op;
	uint64_t id;
	bool leased;   /* the reply: PROTO_FRAME_LEASED */
	bool unleased; /* some attributes in the reply are without PROTO_ATTR_LEASED */
	bool changes;  /* it changes something */
	bool anew;     /* PROTO_FRAME_ANEW: the guest's kernel has just looked the names up */

	/* Memory for the reply: its fields (PROTO_SMALL_MAX bytes), and its data, which may overlap the request's. */
	uint8_t *fields, *data;
	size_t data_size; /* at least PROTO_CHUNK and one directory entry */
	/* The lane; NULL for a part of another request, which has all its data at once and replies in one frame. */
	struct proto_channel *channel;

	/* The gate's: the pinned objects, and what the row needs each for. */
	struct call_node {
		struct pinned pinned;
		unsigned need;
		uint32_t told; /* leases_before_change() */
	} nodes[CALL_NODES];
	struct call_handle {
		struct handle *handle;
		unsigned need;
		uint32_t told;
	} handles[CALL_HANDLES];
	struct call_name {
		const char *text;
		const struct call_node *directory;
		unsigned need;
	} names[CALL_NAMES];
	unsigned nodes_count, handles_count, names_count;
};

/*
 * Receives more of the request's data. Returns the number of bytes, 0 at their end, or a negative errno: the lane is
 * dead.
 */
ssize_t call_more_data(struct call *call, const void **ret_bytes);
/*
 * Sends one frame of a reply that takes several: the writer's tail is exactly PROTO_CHUNK bytes of data. Returns 0, a
 * negative errno, or -EMSGSIZE when the reply must fit into one frame.
 */
int call_send_part(struct call *call, const struct proto_writer *writer);
