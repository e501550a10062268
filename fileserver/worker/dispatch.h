/* SPDX-License-Identifier: Apache-2.0 */
/* From the table: every handler's prototype, and the way from a frame to its handler. */
#pragma once

#include "fileserver/worker/session.h"

/*
 * int worker_lookup(lane, request, ret_reply) and so on, one for each operation on data lanes: 0 or a negative errno
 * that is sent to the guest. The request has been checked field by field, and the share's mode allows the operation. A
 * handler that is missing does not link.
 */
#define HANDLER_DATA(op)                                                                                               \
	int worker_##op(struct lane *lane, const struct proto_##op##_request *request,                                 \
	                struct proto_##op##_reply *ret_reply);
#define HANDLER_EVENT(op)
#define HANDLER_LIST(op)
#define HANDLER_HANDSHAKE(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(op)
#include "protocol/ops.def"
#undef HANDLER_DATA
#undef HANDLER_EVENT
#undef HANDLER_LIST
#undef HANDLER_HANDSHAKE

/*
 * Serves one request of a data lane, its reply included. 0; -EBADMSG: the guest broke the protocol, the session ends;
 * another negative errno: the lane broke.
 */
int dispatch_request(struct lane *lane, const struct proto_header *header, struct proto_reader *reader);
