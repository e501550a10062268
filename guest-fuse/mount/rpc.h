/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's operations as functions, made from the table: rpc_lookup(lane, &request, &reply) and so on.
 *
 * The lane's thread calls them, at most one for one request of the kernel's. 0, the server's error, or -EIO or the
 * session's error when there is no answer or one that makes no sense. Blobs in a reply point into the lane's memory and
 * are valid until its next call.
 */
#pragma once

#include "guest-fuse/mount/lane.h"

#define PROTOTYPE_DATA(op)                                                                                             \
	int rpc_##op(struct lane *lane, const struct proto_##op##_request *request,                                    \
	             struct proto_##op##_reply *ret_reply);
#define PROTOTYPE_EVENT_LIST(op)                                   /* the keeper\'s and the guest agent\'s */
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

/* At most request->size bytes, in the lane's memory until its next call. */
int rpc_open_data(struct lane *lane, const struct proto_open_request *request, struct proto_open_reply *ret_reply);
int rpc_read_data(struct lane *lane, const struct proto_read_request *request, const void **ret_bytes,
                  size_t *ret_length);
/* Those whose reply ends in data, which lies at lane->buffer + LANE_DATA_AT: at most request->size bytes. */
int rpc_opendir_data(struct lane *lane, const struct proto_opendir_request *request, uint64_t *ret_handle,
                     bool *ret_end, size_t *ret_length);
int rpc_readdir_data(struct lane *lane, const struct proto_readdir_request *request, bool *ret_end, size_t *ret_length);
