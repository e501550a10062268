/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups that are answered without the server. */
#include "guest-fuse/mount/kernel/scan.h"

#include <errno.h>

#include "guest-fuse/mount/kernel/effects.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"
#include "guest-fuse/mount/server/stale.h"
#include "guest-fuse/mount/server/thread-call.h"
#include "protocol/clock.h"

static void give_back(struct client *client)
{
	struct directory_piece piece;

	while (listings_take(client->listings, &piece))
		effects_drop_piece(client, &piece);
}

static void take(struct thread *thread, uint64_t directory, uint64_t ticket, const struct proto_scan_reply *reply)
{
	const struct answer answer = request_told(&thread->request);
	const uint8_t *bytes = request_data(&thread->request);
	struct client *client = thread->client;
	struct directory_piece piece;

	if (directory_piece_init(bytes, reply->entries.length, 0, &answer, true, &piece) < 0) {
		effects_drop_entries(client, bytes, reply->entries.length);
		listings_in_vain(client->listings, directory);
		return;
	}
	if (!listings_put(client->listings, client->validity, directory, ticket, &piece, reply->whole))
		effects_drop_piece(client, &piece);
}

/* False: it is not known now. */
static bool fetch(struct thread *thread, uint64_t directory, uint32_t most)
{
	struct proto_scan_request request = { .node = directory, .most = most, .size = PROTO_DATA_MAX };
	struct client *client = thread->client;
	struct proto_scan_reply reply;
	uint64_t ticket;
	int r;

	if (!listings_begin(client->listings, directory, &ticket))
		return false;
	r = rpc_scan_data(&thread->request, &request, &reply);
	if (r < 0)
		listings_in_vain(client->listings, directory);
	else if (reply.count > most)
		listings_too_many(client->listings, directory, reply.count);
	else
		take(thread, directory, ticket, &reply);
	return r == 0 && reply.count <= most;
}

static enum listings_answer find(struct thread *thread, uint64_t directory, const char *name,
                                 struct listings_found *ret_found)
{
	struct client *client = thread->client;

	return listings_find(client->listings, client->validity, client->objects, directory, name, ret_found);
}

/* The kernel is told of the entry's object. False: it cannot be. */
static bool learn(struct client *client, uint64_t directory, const char *name, const struct listings_found *found)
{
	const struct proto_entry *entry = &found->entry;

	/* Attributes of a bound file are sent only in answer to questions about it. */
	if (file_binds_has(client->file_binds, entry->node) ||
	    (found->held ? objects_learn(client->objects, directory, name, entry, 1) < 0
	                 : !objects_learn_again(client->objects, directory, name, entry))) {
		server_give_back(client->server, entry->node, found->held ? 1 : 0);
		return false;
	}
	objects_note_flags(client->objects, entry->node, entry->attr.flags, found->answer.since);
	return true;
}

enum listings_answer scan_look_up(struct thread *thread, uint64_t directory, const char *name,
                                  struct listings_found *ret_found)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	struct client *client = thread->client;
	enum listings_answer answer;
	uint32_t most;

	ret_found->unsure = false;
	/* After ESTALE the kernel looks names up again to hear what the server says now. */
	if (!client->validity->leases || stale_awaits(client->server->stale, (pid_t) header->pid))
		return LISTINGS_UNKNOWN;
	answer = find(thread, directory, name, ret_found);
	most = answer == LISTINGS_UNKNOWN && !ret_found->unsure ? listings_ask(client->listings, directory, name) : 0;
	if (most > 0 && fetch(thread, directory, most))
		answer = find(thread, directory, name, ret_found);
	if (answer == LISTINGS_FOUND && !learn(client, directory, name, ret_found))
		answer = LISTINGS_UNKNOWN;
	/* If others have just made the name, who is about to make it hears so from the server. */
	if (answer == LISTINGS_UNKNOWN && ret_found->unsure && thread_call_creates((pid_t) header->pid, name))
		answer = LISTINGS_MISSING;
	give_back(client);
	return answer;
}

void scan_asked(struct thread *thread, uint64_t directory, const struct listings_found *found, int result)
{
	struct client *client = thread->client;

	if (!client->validity->leases || (result != 0 && result != -ENOENT))
		return;
	listings_asked(client->listings, directory, request_since(&thread->request), thread->request.leased,
	               result == 0);
	/* It was made just now: INVALIDATE is on its way. */
	if (result == 0 && found->unsure)
		scan_drop(client, directory);
}

bool scan_list(struct thread *thread, uint64_t directory, struct directory_piece *ret_piece)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	struct client *client = thread->client;
	bool known;

	if (!client->validity->leases || stale_awaits(client->server->stale, (pid_t) header->pid))
		return false;
	known = listings_piece(client->listings, client->validity, directory, ret_piece);
	give_back(client);
	return known;
}

void scan_changing(struct client *client, uint64_t directory, const char *name)
{
	uint64_t node;

	if (!client->validity->leases)
		return;
	node = listings_changing(client->listings, directory, name);
	server_give_back(client->server, node, node != 0 ? 1 : 0);
	give_back(client);
}

void scan_changed(struct client *client, uint64_t directory, const char *name, bool gone)
{
	if (client->validity->leases)
		listings_changed(client->listings, directory, name, gone);
}

void scan_drop(struct client *client, uint64_t directory)
{
	if (!client->validity->leases)
		return;
	listings_drop(client->listings, directory);
	give_back(client);
}
