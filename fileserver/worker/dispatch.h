/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame on a data lane to its handler, and the reply. */
#pragma once

#include "fileserver/worker/session/call.h"
#include "protocol/channel.h"

/*
 * Serves one request of a data lane and sends its reply. The caller sets where the reply goes in call; the rest is set
 * here. Returns 0; -EBADMSG: the guest broke the protocol, the session ends; another negative errno: the lane broke.
 */
int dispatch_request(struct call *call, const struct proto_header *header, struct proto_reader *reader);
