/* SPDX-License-Identifier: Apache-2.0 */
/* What to do after an operation. */
#include "guest-fuse/mount/kernel/effects.h"

#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/known/directory.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"

void effects_directory_changed(struct thread *thread, uint64_t node, const struct proto_attr *attr)
{
	const struct answer answer = request_told(&thread->request);
	struct client *client = thread->client;

	objects_changed(client->objects, node);
	if (attributes_check(attr) == 0)
		recent_put(client->recent, node, attr, &answer);
	else
		recent_drop(client->recent, node);
}

void effects_changed(struct thread *thread, uint64_t node)
{
	request_changes(&thread->request, node);
	objects_changed(thread->client->objects, node);
	recent_drop(thread->client->recent, node);
	/* Nothing may be left of it that takes room on the disk. */
	kept_drop(thread->client->kept, node);
}

void effects_not_taken(struct client *client, uint64_t node)
{
	server_give_back(client->server, node, objects_forget(client->objects, node, 1));
}

void effects_make_room(struct thread *thread)
{
	kept_drop_all(thread->client->kept);
	connection_forget(&thread->connection);
}

void effects_close(struct thread *thread, uint64_t handle)
{
	struct proto_release_request request = { .handle = handle };

	(void) rpc_release(&thread->request, &request, NULL);
}

void effects_drop_piece(struct client *client, struct directory_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++)
		if (piece->items[i].held)
			server_give_back(client->server, piece->items[i].node, 1);
	directory_piece_done(piece);
}

void effects_drop_entries(struct client *client, const uint8_t *bytes, size_t length)
{
	struct proto_reader reader;
	struct proto_dirent dirent;

	proto_reader_init(&reader, bytes, length, length);
	while (reader.next < reader.end) {
		proto_get_dirent(&reader, &dirent);
		if (reader.error != 0)
			return;
		if (dirent.node != 0)
			server_give_back(client->server, dirent.node, 1);
	}
}
