/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated from the table: the handlers of the operations on data lanes, and the requests that they get.
 *
 *	int worker_unlink(struct call *call, const struct worker_unlink *request, struct proto_unlink_reply *ret_reply)
 *
 * A handler returns 0 or a negative errno, which is sent to the guest. Each field of the request has been checked, the
 * objects that it names are pinned while the handler runs, and the gate has allowed this use of them: request->parent
 * is an object, not a number. A missing handler does not link.
 */
#pragma once

#include "fileserver/worker/session/call.h"

/* The type by which a handler gets the object of a field of this kind. */
#define HANDLER_TYPE_node   struct pinned *
#define HANDLER_TYPE_handle struct handle *
#define HANDLER_TYPE_name   const char *

#define REQUEST(op)                   struct worker_##op {
#define FIELD(kind, name, doc)        proto_type_##kind name;
#define OBJECT(kind, need, name, doc) HANDLER_TYPE_##kind name;
#define RESULT(kind, name, doc)
#define END(op)                                                                                                        \
	}                                                                                                              \
	;
#include "protocol/ops.def"

#define HANDLER_DATA(op)                                                                                               \
	int worker_##op(struct call *call, const struct worker_##op *request, struct proto_##op##_reply *ret_reply);
#define HANDLER_EVENT(op)
#define HANDLER_EVENT_LIST(op)
#define HANDLER_LIST(op)
#define HANDLER_HANDSHAKE(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(op)
#include "protocol/ops.def"
#undef HANDLER_DATA
#undef HANDLER_EVENT
#undef HANDLER_EVENT_LIST
#undef HANDLER_LIST
#undef HANDLER_HANDSHAKE
