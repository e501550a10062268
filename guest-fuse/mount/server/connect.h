/* SPDX-License-Identifier: Apache-2.0 */
/* The session's beginning: the event lane, from the address to the server's WELCOME. */
#pragma once

#include "guest-fuse/mount/exits.h"
#include "protocol/channel.h"

struct server;

/*
 * Says hello; fills server->welcome. EXITS_OK and the event lane, or the exit code, and what happened and what to do is
 * on stderr.
 */
enum exits connect_session(struct server *server, struct proto_channel *ret_event);
