/* SPDX-License-Identifier: Apache-2.0 */
/* The server's list of shared directories, as the guest was told of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "protocol/messages.h"

struct share_list_entry {
	char *path, *canonical; /* on the host: as on its list, and without symbolic links */
	uint32_t state, flags;  /* PROTO_SHARE_* */
};

struct share_list {
	struct share_list_entry *shares;
	size_t count;
};

/* As many as bindshare-fileserver shares at most: a host that tells of more is not believed anything. */
enum { SHARE_LIST_MAX = 1024 };

void share_list_done(struct share_list *list);
