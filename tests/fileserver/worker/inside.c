/* SPDX-License-Identifier: Apache-2.0 */
/* A share's session from inside. */
#include "tests/fileserver/worker/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/ids.h"

int inside_set_up(void **state)
{
	*state = share_new(0, 1000);
	return *state == NULL ? -1 : 0;
}

int inside_tear_down(void **state)
{
	share_free(*state);
	return 0;
}

int inside_set_up_unprivileged(void **state)
{
	return share_become_unprivileged() < 0 ? -1 : inside_set_up(state);
}

struct session *inside_session(struct share *share)
{
	return &share->service->session;
}

uint64_t inside_look_up(struct share *share, uint64_t parent, const char *name)
{
	struct proto_entry entry;

	assert_int_equal(share_lookup(share, parent, name, &entry), 0);
	return entry.node;
}

uint64_t inside_open(struct share *share, uint64_t node, uint32_t flags)
{
	uint64_t handle;

	assert_int_equal(share_open(share, node, flags, &handle), 0);
	return handle;
}

void inside_take(struct share *share, uint64_t id, struct pinned *ret_pinned)
{
	struct nodes *nodes = inside_session(share)->nodes;

	*ret_pinned = (struct pinned){ .fd = { .fd = -EBADF } };
	assert_int_equal(nodes_get(nodes, id, &ret_pinned->node), 0);
	assert_int_equal(nodes_fd(nodes, ret_pinned->node, &ret_pinned->fd), 0);
}

void inside_put(struct share *share, struct pinned *pinned)
{
	struct session *session = inside_session(share);

	space_settle(&session->space, &pinned->claim);
	nodes_fd_done(session->nodes, &pinned->fd);
	nodes_put(session->nodes, pinned->node);
}

/* Counted first: a test that fails leaves no lock behind. */
void inside_is_idle(struct share *share)
{
	struct session *session = inside_session(share);
	struct nodes *nodes = session->nodes;
	uint64_t pins = 0, descriptors = 0, handles = 0, claims = 0;

	nodes_lock(nodes);
	for (const struct node *node = nodes->by_identity; node != NULL; node = node->hh.next) {
		pins += node->pins;
		descriptors += node->fd_users;
		for (const struct handle *handle = node->handles; handle != NULL; handle = handle->next_of_node)
			handles += handle->users;
	}
	nodes_unlock(nodes);
	lock_take(&session->space.lock);
	for (unsigned i = 0; i < SPACE_DISKS; i++)
		claims += session->space.disks[i].in_bytes + session->space.disks[i].in_files;
	lock_give(&session->space.lock);
	assert_int_equal(pins, 0);
	assert_int_equal(descriptors, 0);
	assert_int_equal(handles, 0);
	assert_int_equal(claims, 0);
}

uint64_t inside_references(struct share *share, uint64_t id)
{
	struct nodes *nodes = inside_session(share)->nodes;
	const struct node *node;
	uint64_t references;

	nodes_lock(nodes);
	node = slots_find(&nodes->slots, id);
	references = node == NULL ? 0 : node->lookups;
	nodes_unlock(nodes);
	return references;
}

bool inside_has_descriptor(struct share *share, uint64_t id)
{
	struct nodes *nodes = inside_session(share)->nodes;
	const struct node *node;
	bool has;

	nodes_lock(nodes);
	node = slots_find(&nodes->slots, id);
	has = node != NULL && node->fd >= 0;
	nodes_unlock(nodes);
	return has;
}

static void claim_disk(struct share *share, uint64_t reserve, uint64_t bytes)
{
	struct space *space = &inside_session(share)->space;

	lock_take(&space->lock);
	space->reserve = reserve;
	for (unsigned i = 0; i < SPACE_DISKS; i++) {
		space->disks[i].in_bytes = bytes;
		space->disks[i].checked = 0;
	}
	lock_give(&space->lock);
}

void inside_fill_disk(struct share *share)
{
	claim_disk(share, 1, INT64_MAX);
}

void inside_empty_disk(struct share *share)
{
	claim_disk(share, 0, 0);
}

struct stat inside_stat(struct share *share, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(share->host, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

void inside_holds(struct share *share, const char *name, const char *text)
{
	char bytes[256];
	int fd = openat(share->host, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
	close(fd);
}

bool inside_is_there(struct share *share, const char *name)
{
	return faccessat(share->host, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool inside_has_xattr(struct share *share, const char *name, const char *attribute)
{
	char path[512];

	assert_true(snprintf(path, sizeof(path), "%s/%s", share->directory, name) < (int) sizeof(path));
	return lgetxattr(path, attribute, NULL, 0) >= 0;
}
