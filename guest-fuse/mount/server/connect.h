/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a session: the event lane, from the address to the server's WELCOME. */
#pragma once

#include "guest-fuse/mount/exits.h"
#include "protocol/channel.h"

struct server;

/*
 * Sends HELLO and fills server->welcome. EXITS_OK and the event lane; or the exit code, and what to do about it is
 * on stderr.
 */
enum exits connect_session(struct server *server, struct proto_channel *ret_event);
