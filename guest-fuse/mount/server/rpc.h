/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's operations as functions, generated from the table: rpc_lookup(from, &request, &reply) and so on.
 *
 * from is the kernel's request on whose behalf the server is asked; the thread that serves it calls these functions. 0;
 * the server's error; or -EIO or the session's error when there is no answer or one that makes no sense. Blobs in a
 * reply point into memory of from and its connection, and are valid until the next call.
 */
#pragma once

#include "protocol/messages.h"

struct request;

#define PROTOTYPE_DATA(op)                                                                                             \
	int rpc_##op(struct request *from, const struct proto_##op##_request *request,                                 \
	             struct proto_##op##_reply *ret_reply);
#define PROTOTYPE_EVENT_LIST(op)                                   /* the keeper's and the guest agent's */
#define PROTOTYPE_EVENT(op)                                        /* the keeper's */
#define PROTOTYPE_LIST(op)                                         /* the guest agent's */
#define PROTOTYPE_HANDSHAKE(op)                                    /* proto_hello() and proto_attach() */
#define OP(SYMBOL, op, number, lane_, from_, changes, replay, doc) PROTOTYPE_##lane_(op)
#include "protocol/ops.def"
#undef PROTOTYPE_DATA
#undef PROTOTYPE_EVENT
#undef PROTOTYPE_EVENT_LIST
#undef PROTOTYPE_LIST
#undef PROTOTYPE_HANDSHAKE

/* At most request->size bytes of data, in memory that is valid until the next call for from. */
int rpc_open_data(struct request *from, const struct proto_open_request *request, struct proto_open_reply *ret_reply);
int rpc_read_any(struct request *from, const struct proto_read_request *request, struct proto_read_reply *ret_reply);
/* The same where the data may be more than a frame's: they lie at request_data(from). */
int rpc_read_data(struct request *from, const struct proto_read_request *request, struct proto_read_reply *ret_reply);
int rpc_opendir_data(struct request *from, const struct proto_opendir_request *request,
                     struct proto_opendir_reply *ret_reply);
int rpc_readdir_data(struct request *from, const struct proto_readdir_request *request,
                     struct proto_readdir_reply *ret_reply);
int rpc_scan_data(struct request *from, const struct proto_scan_request *request, struct proto_scan_reply *ret_reply);
