/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that may be waiting for the server. */
#include "guest-fuse/mount/server/pending.h"

#include <assert.h>
#include <stdlib.h>

#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"

struct pending *pending_new(struct server *server)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (pending != NULL)
		pending->server = server;
	return pending;
}

void pending_free(struct pending *pending)
{
	free(pending);
}

void pending_add(struct pending *pending, struct request *request)
{
	unsigned count = atomic_load(&pending->count);

	assert(count < PENDING_MAX);
	pending->all[count] = request;
	atomic_store(&pending->count, count + 1);
}

bool pending_are_there(struct pending *pending)
{
	for (unsigned i = 0; i < atomic_load(&pending->count); i++)
		if (atomic_load(&pending->all[i]->rpc) != 0)
			return true;
	return false;
}

unsigned pending_connected(struct pending *pending)
{
	unsigned connected = 0;

	for (unsigned i = 0; i < atomic_load(&pending->count); i++)
		connected += connection_is_up(pending->all[i]->connection) ? 1 : 0;
	return connected;
}

void pending_kill(struct pending *pending)
{
	for (unsigned i = 0; i < atomic_load(&pending->count); i++)
		connection_kill(pending->all[i]->connection);
}

bool pending_fail(struct pending *pending, int error)
{
	struct server *server = pending->server;
	int alive = 0;

	if (!atomic_compare_exchange_strong(&server->dead, &alive, error))
		return false;
	pending_kill(pending);
	server->alive = close_fd(server->alive);
	server_wake(server);
	return true;
}
