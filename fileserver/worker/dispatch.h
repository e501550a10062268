/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame of a data lane to its handler, and its reply. */
#pragma once

#include "fileserver/worker/session/call.h"
#include "protocol/channel.h"

/*
 * Serves one request of a data lane, its reply included. The call says where the reply goes; the rest of it is filled
 * here. 0; -EBADMSG: the guest broke the protocol, the session ends; another negative errno: the lane broke.
 */
int dispatch_request(struct call *call, const struct proto_header *header, struct proto_reader *reader);
