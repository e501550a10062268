/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/table.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

int nodes_open(struct nodes *nodes, struct node *node, int fd, bool directory, bool readable, bool writable,
               uint64_t *ret_id, struct handle **ret_handle)
{
	struct handle *handle = FAULT_NULL(WORKER_HANDLE, calloc(1, sizeof(*handle)));
	int r = handle == NULL ? -ENOMEM : 0;

	nodes_lock(nodes);
	if (r == 0 && !fds_make_room(nodes, false)) {
		r = -ENFILE;
		/* The guest gives back what it keeps. What it does not, is in use: that does not count the next time.
		 */
		nodes->kept_handles = 0;
		nodes->kept_round++;
	}
	if (r == 0)
		r = slots_take(&nodes->handles, handle, &handle->id);
	if (r == 0) {
		handle->fd = fd;
		handle->node = node;
		handle->directory = directory;
		handle->readable = readable;
		handle->writable = writable;
		handle->users = 1;
		lock_init(&handle->lock);
		handle->next_of_node = node->handles;
		node->handles = handle;
		node->writes += writable ? 1 : 0;
		fds_unlist(nodes, node);
		node->was_opened = true;
		if (node->fd >= 0 && node->fd_users == 0 && node != nodes->root)
			fds_list(nodes, node);
		nodes->descriptors++;
		nodes->open_handles++;
		*ret_id = handle->id;
		*ret_handle = handle;
		fds_show_counts(nodes);
	}
	nodes_unlock(nodes);
	if (r < 0)
		free(handle);
	return r;
}

int nodes_handle(struct nodes *nodes, uint64_t id, struct handle **ret_handle)
{
	struct handle *handle;

	nodes_lock(nodes);
	handle = slots_find(&nodes->handles, id);
	if (handle != NULL)
		handle->users++;
	nodes_unlock(nodes);
	if (handle == NULL)
		return -EBADF;
	*ret_handle = handle;
	return 0;
}

static void handle_end(struct nodes *nodes, struct handle *handle, struct node **ret_node) LOCK_HELD(nodes->lock);
/* Removes the handle from the table. Its descriptor is still open, so that the node is pinned. */
static void handle_end(struct nodes *nodes, struct handle *handle, struct node **ret_node)
{
	struct handle **link = &handle->node->handles;

	while (*link != handle)
		link = &(*link)->next_of_node;
	*link = handle->next_of_node;
	nodes->descriptors--;
	nodes->open_handles--;
	if (handle->kept && handle->kept_round == nodes->kept_round)
		nodes->kept_handles--;
	fds_show_counts(nodes);
	handle->node->pins++;
	*ret_node = handle->node;
}

/* Closes the descriptor, which may block in the host's file system: never under the lock. */
static void handle_close(struct nodes *nodes, struct handle *handle, struct node *node)
{
	close_fd(handle->fd);
	if (handle->writable)
		nodes_write_end(nodes, node);
	nodes_put(nodes, node);
	lock_done(&handle->lock);
	free(handle);
}

void nodes_handle_put(struct nodes *nodes, struct handle *handle)
{
	struct node *node = NULL;

	if (handle == NULL)
		return;
	nodes_lock(nodes);
	assert(handle->users > 0);
	if (--handle->users == 0 && handle->closed)
		handle_end(nodes, handle, &node);
	nodes_unlock(nodes);
	if (node != NULL)
		handle_close(nodes, handle, node);
}

void nodes_close(struct nodes *nodes, struct handle *handle)
{
	nodes_lock(nodes);
	if (!handle->closed)
		slots_give_back(&nodes->handles, handle->id);
	handle->closed = true;
	nodes_unlock(nodes);
}

bool nodes_write_begin(struct nodes *nodes, struct node *node)
{
	bool first;

	nodes_lock(nodes);
	first = node->writes++ == 0;
	if (first)
		node->others = NODES_OTHERS_ASKED;
	nodes_unlock(nodes);
	return first;
}

void nodes_write_end(struct nodes *nodes, struct node *node)
{
	nodes_lock(nodes);
	assert(node->writes > 0);
	/* Whoever opened it meanwhile was not looked for. */
	if (--node->writes == 0 && node->others == NODES_OTHERS_NONE)
		node->others = NODES_OTHERS_ASKED;
	nodes_unlock(nodes);
}

bool nodes_writes(struct nodes *nodes, struct node *node, enum nodes_others *ret_others)
{
	bool writes;

	nodes_lock(nodes);
	writes = node->writes > 0;
	*ret_others = node->others;
	nodes_unlock(nodes);
	return writes;
}

void nodes_ask_again(struct nodes *nodes, struct node *node)
{
	nodes_lock(nodes);
	if (node->writes == 0 && node->others == NODES_OTHERS_NONE)
		node->others = NODES_OTHERS_ASKED;
	nodes_unlock(nodes);
}

bool nodes_nobody_writes(struct nodes *nodes, struct node *node)
{
	enum nodes_others others;

	return !nodes_writes(nodes, node, &others) && others == NODES_OTHERS_NONE;
}

bool nodes_note_others(struct nodes *nodes, struct node *node, bool others, bool asked)
{
	nodes_lock(nodes);
	if (node->writes == 0 || asked)
		node->others = others ? NODES_OTHERS_WRITE : NODES_OTHERS_NONE;
	else
		others = node->others != NODES_OTHERS_NONE;
	nodes_unlock(nodes);
	return others;
}

/* Of all handles of this file that the guest has not closed. */
static bool is_first(const struct handle *handle)
{
	const struct handle *other = handle->node->handles;

	while (other != handle && other->closed)
		other = other->next_of_node;
	return other == handle;
}

struct handle *nodes_next_open_file(struct nodes *nodes, uint32_t *place)
{
	struct handle *found = NULL;

	nodes_lock(nodes);
	while (found == NULL && *place < nodes->handles.used) {
		struct handle *handle = nodes->handles.slots[(*place)++].object;

		if (handle != NULL && !handle->directory && is_first(handle))
			found = handle;
	}
	if (found != NULL)
		found->users++;
	nodes_unlock(nodes);
	return found;
}

struct handle *nodes_reader(struct nodes *nodes, struct node *node)
{
	struct handle *handle;

	nodes_lock(nodes);
	handle = node->handles;
	while (handle != NULL && (handle->closed || handle->directory || !handle->readable))
		handle = handle->next_of_node;
	if (handle != NULL)
		handle->users++;
	nodes_unlock(nodes);
	return handle;
}

void nodes_keeps(struct nodes *nodes, uint64_t id)
{
	struct handle *handle;

	nodes_lock(nodes);
	handle = slots_find(&nodes->handles, id);
	if (handle != NULL && !handle->kept) {
		handle->kept = true;
		handle->kept_round = nodes->kept_round;
		nodes->kept_handles++;
	}
	nodes_unlock(nodes);
}

bool nodes_may_keep_handles(struct nodes *nodes)
{
	bool may;

	nodes_lock(nodes);
	may = nodes->open_handles < nodes->descriptors_max / 4 * 3;
	nodes_unlock(nodes);
	return may;
}
