/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and frees what a mount consists of. */
#include "guest-fuse/mount/parts.h"

#include <errno.h>
#include <stdlib.h>

#include "guest-fuse/mount/kernel/counts.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/invalidator.h"
#include "guest-fuse/mount/kernel/lowlevel.h"
#include "guest-fuse/mount/kernel/notifier.h"
#include "guest-fuse/mount/kernel/secret.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/ahead.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/listings.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"

/* Missing names that the kernel may keep without a time limit. */
enum { ABSENT_NAMES = 65536 };

/* Entries of directories that were fetched whole may be one part in so many of what the server knows for this mount. */
enum { LISTINGS_PART = 16 };

static bool are_reading(const void *data)
{
	return threads_are_reading(data);
}

static unsigned others(const void *data)
{
	return threads_others(data);
}

static void grow(void *data)
{
	threads_grow(data);
}

/* False: out of memory. */
static bool make_known(struct client *client)
{
	client->file_binds = file_binds_new();
	client->held = held_new();
	client->recent = recent_new();
	client->ahead = ahead_new();
	client->absent = absent_new(ABSENT_NAMES);
	client->listings = listings_new((size_t) client->options->listings_mib << 20);
	client->validity = calloc(1, sizeof(*client->validity));
	if (client->validity != NULL && client->held != NULL)
		validity_init(client->validity, !client->options->no_cache, client->options->leases, client->file_binds,
		              client->held);
	return client->file_binds != NULL && client->held != NULL && client->recent != NULL && client->ahead != NULL &&
	       client->absent != NULL && client->listings != NULL && client->validity != NULL;
}

static void close_later(void *data, uint64_t handle)
{
	server_close_later(data, handle);
}

static bool make_server(struct client *client, const struct proto_token *token)
{
	client->server = server_new(client->options, token);
	client->pending = client->server == NULL ? NULL : pending_new(client->server);
	client->kept = client->server == NULL ? NULL : kept_new(close_later, client->server);
	return client->pending != NULL && client->kept != NULL;
}

static bool make_kernel(struct client *client)
{
	client->threads = threads_new(client, lowlevel_serve);
	client->interrupts = interrupts_new(client->pending);
	client->notifier = notifier_new(client);
	client->invalidator = invalidator_new(client);
	client->counts = calloc(1, sizeof(*client->counts));
	client->secret = calloc(1, sizeof(*client->secret));
	return client->threads != NULL && client->interrupts != NULL && client->notifier != NULL &&
	       client->invalidator != NULL && client->counts != NULL && client->secret != NULL;
}

struct client *parts_new(const struct mount_options *options, const struct proto_token *token)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->options = options;
	client->device = -EBADF;
	if (!make_known(client) || !make_server(client, token) || !make_kernel(client)) {
		parts_free(client);
		return NULL;
	}
	client->server->threads = (struct server_threads){
		.are_reading = are_reading,
		.others = others,
		.grow = grow,
		.data = client->threads,
	};
	return client;
}

int parts_complete(struct client *client)
{
	const struct proto_proof_reply *welcome = &client->server->welcome;
	unsigned lanes = client->options->lanes;

	client->root = welcome->root.node;
	client->block_size = welcome->block_size;
	client->read_only = client->options->read_only || (welcome->flags & PROTO_WELCOME_READ_ONLY) != 0;
	client->sync_at_close = (welcome->flags & PROTO_WELCOME_SYNC_AT_CLOSE) != 0;
	threads_limit(client->threads, welcome->lanes_max < lanes ? welcome->lanes_max : lanes);
	if (objects_new(client->root, &client->objects) < 0)
		return -ENOMEM;
	objects_limit(client->objects, welcome->nodes_max);
	listings_limit(client->listings, welcome->nodes_max / LISTINGS_PART);
	return 0;
}

void parts_free(struct client *client)
{
	if (client == NULL)
		return;
	lowlevel_free(client);
	threads_free(client->threads);
	interrupts_free(client->interrupts);
	notifier_free(client->notifier);
	invalidator_free(client->invalidator);
	free(client->counts);
	free(client->secret);
	pending_free(client->pending);
	server_free(client->server);
	objects_free(client->objects);
	recent_free(client->recent);
	ahead_free(client->ahead);
	absent_free(client->absent);
	listings_free(client->listings);
	free(client->validity);
	held_free(client->held);
	kept_free(client->kept);
	file_binds_free(client->file_binds);
	close_fd(client->device);
	free(client);
}
