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
	if (r == 0 && !fds_make_room(nodes))
		r = -ENFILE;
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

static int handle_end(struct nodes *nodes, struct handle *handle) LOCK_HELD(nodes->lock);
/* Removes the handle from the table. Returns the descriptor to close. */
static int handle_end(struct nodes *nodes, struct handle *handle)
{
	struct handle **link = &handle->node->handles;
	int fd = handle->fd;

	while (*link != handle)
		link = &(*link)->next_of_node;
	*link = handle->next_of_node;
	nodes->descriptors--;
	nodes->open_handles--;
	fds_show_counts(nodes);
	nodes_release(nodes, handle->node);
	lock_done(&handle->lock);
	free(handle);
	return fd;
}

void nodes_handle_put(struct nodes *nodes, struct handle *handle)
{
	int fd = -EBADF;

	if (handle == NULL)
		return;
	nodes_lock(nodes);
	assert(handle->users > 0);
	if (--handle->users == 0 && handle->closed)
		fd = handle_end(nodes, handle);
	nodes_unlock(nodes);
	close_fd(fd); /* may block in the host's file system: never under the lock */
}

void nodes_close(struct nodes *nodes, struct handle *handle)
{
	nodes_lock(nodes);
	if (!handle->closed)
		slots_give_back(&nodes->handles, handle->id);
	handle->closed = true;
	nodes_unlock(nodes);
}
