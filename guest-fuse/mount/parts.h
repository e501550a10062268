/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and frees what a mount consists of: the one place that knows all parts. */
#pragma once

#include <stdbool.h>

#include "guest-fuse/mount/kernel/client.h"
#include "protocol/handshake.h"

struct mount_options;

/* All that needs no word of the server's. NULL: out of memory. options and token must outlive it. */
struct client *parts_new(const struct mount_options *options, const struct proto_token *token);
/* After client->server->welcome is there: what depends on it. 0 or -ENOMEM. */
int parts_complete(struct client *client);
/* However far it came; no thread uses it any more. */
void parts_free(struct client *client);
