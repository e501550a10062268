/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a call that use the lane. */
#include "fileserver/worker/session/call.h"

#include <errno.h>

ssize_t call_more_data(struct call *call, const void **ret_bytes)
{
	return call->channel == NULL ? 0 : proto_channel_more(call->channel, ret_bytes);
}

int call_send_part(struct call *call, const struct proto_writer *writer)
{
	struct proto_header header = { .op = (uint16_t) call->op,
		                       .flags = PROTO_FRAME_REPLY | PROTO_FRAME_MORE,
		                       .id = call->id };

	return call->channel == NULL ? -EMSGSIZE : proto_channel_send(call->channel, &header, writer);
}
