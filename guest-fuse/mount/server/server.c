/* SPDX-License-Identifier: Apache-2.0 */
/* This mount's session with the server. */
#include "guest-fuse/mount/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/stale.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

struct server *server_new(const struct mount_options *options, const struct proto_token *token)
{
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->options = options;
	server->token = token;
	server->alive = -EBADF;
	server->wake = FAULT(MOUNT_WAKE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	server->forgets = forgets_new();
	server->stale = stale_new();
	if (server->wake < 0 || server->forgets == NULL || server->stale == NULL) {
		server_free(server);
		return NULL;
	}
	return server;
}

void server_free(struct server *server)
{
	if (server == NULL)
		return;
	close_fd(server->alive);
	close_fd(server->wake);
	forgets_free(server->forgets);
	stale_free(server->stale);
	free(server);
}

void server_wake(struct server *server)
{
	(void) eventfd_write(server->wake, 1);
}

void server_stir(struct server *server)
{
	/* Mostly just a load, since the keeper stays awake for a while. */
	if (atomic_load(&server->dozing) && atomic_exchange(&server->dozing, false))
		server_wake(server);
}

void server_give_back(struct server *server, uint64_t node, uint64_t references)
{
	if (forgets_add(server->forgets, node, references))
		server_wake(server);
}

void server_close_later(struct server *server, uint64_t handle)
{
	if (forgets_add_handle(server->forgets, handle))
		server_wake(server);
}

void server_count(struct server *server, enum proto_op op, int result, int64_t begin, size_t bytes)
{
	struct proto_counter *counter = &server->counters.ops[op];

	proto_counter_add(&counter->count, 1);
	if (result < 0)
		proto_counter_add(&counter->errors, 1);
	proto_counter_add(&counter->bytes, bytes);
	proto_counter_add(&counter->nanoseconds, (uint64_t) (clock_ns() - begin));
}
