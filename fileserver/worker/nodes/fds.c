/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of nodes, within the budget: which node keeps one, which loses it. */
#include "fileserver/worker/nodes/fds.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "protocol/cleanup.h"

/* A descriptor that nobody has used for two to three seconds is closed. */
enum { TICK_MS = 1000, UNUSED_ROUNDS = 3 };

void nodes_lock(struct nodes *nodes)
{
	lock_take(&nodes->lock);
}

void nodes_unlock(struct nodes *nodes)
{
	int closing[CLOSING_MAX];
	unsigned count = nodes->closing_count;

	if (count > 0)
		memcpy(closing, nodes->closing, count * sizeof(closing[0]));
	nodes->closing_count = 0;
	lock_give(&nodes->lock);
	while (count > 0)
		close_fd(closing[--count]);
}

void nodes_close_later(struct nodes *nodes, int fd)
{
	if (nodes->closing_count < CLOSING_MAX)
		nodes->closing[nodes->closing_count++] = fd;
	else
		close_fd(fd);
}

void fds_show_counts(struct nodes *nodes)
{
	if (nodes->counters == NULL)
		return;
	atomic_store_explicit(&nodes->counters->descriptors, nodes->descriptors, memory_order_relaxed);
	atomic_store_explicit(&nodes->counters->handles, nodes->open_handles, memory_order_relaxed);
}

static struct descriptor_list *list_of(struct nodes *nodes, const struct node *node)
{
	if (node->orphan)
		return &nodes->lists[2];
	return node->was_opened && !S_ISDIR(node->type) ? &nodes->lists[1] : &nodes->lists[0];
}

void fds_unlist(struct nodes *nodes, struct node *node)
{
	struct descriptor_list *list = list_of(nodes, node);

	if (!node->listed)
		return;
	*(node->newer == NULL ? &list->newest : &node->newer->older) = node->older;
	*(node->older == NULL ? &list->oldest : &node->older->newer) = node->newer;
	node->newer = node->older = NULL;
	node->listed = false;
}

static void set_timer(struct nodes *nodes, int ms) LOCK_HELD(nodes->lock);
static void set_timer(struct nodes *nodes, int ms)
{
	struct timespec interval = { .tv_sec = ms / 1000, .tv_nsec = (long) (ms % 1000) * 1000000 };
	struct itimerspec when = { .it_interval = interval, .it_value = interval };

	nodes->ticking = ms > 0;
	(void) timerfd_settime(nodes->timer, 0, &when, NULL);
}

void fds_list(struct nodes *nodes, struct node *node)
{
	struct descriptor_list *list = list_of(nodes, node);

	assert(!node->listed && node->fd >= 0);
	node->older = list->newest;
	node->newer = NULL;
	*(list->newest == NULL ? &list->oldest : &list->newest->newer) = node;
	list->newest = node;
	node->listed = true;
	node->used = nodes->round;
	if (!nodes->ticking && !node->orphan)
		set_timer(nodes, TICK_MS);
}

void fds_drop(struct nodes *nodes, struct node *node)
{
	if (node->fd < 0 || node == nodes->root)
		return;
	fds_unlist(nodes, node);
	nodes_close_later(nodes, node->fd);
	node->fd = -EBADF;
	nodes->descriptors--;
	fds_show_counts(nodes);
}

int nodes_timer(const struct nodes *nodes)
{
	return nodes->timer;
}

static bool give_up_unused(struct nodes *nodes, struct descriptor_list *list) LOCK_HELD(nodes->lock);
/* Closes what is in the list and was not used lately. Returns true when there is more than fits into nodes->closing. */
static bool give_up_unused(struct nodes *nodes, struct descriptor_list *list)
{
	while (list->oldest != NULL && nodes->round - list->oldest->used >= UNUSED_ROUNDS) {
		if (nodes->closing_count == CLOSING_MAX)
			return true;
		fds_drop(nodes, list->oldest);
	}
	return false;
}

void nodes_tick(struct nodes *nodes)
{
	uint64_t times;
	bool more;

	(void) !read(nodes->timer, &times, sizeof(times));
	nodes_lock(nodes);
	nodes->round++;
	nodes_unlock(nodes);
	do {
		nodes_lock(nodes);
		more = give_up_unused(nodes, &nodes->lists[0]) || give_up_unused(nodes, &nodes->lists[1]);
		if (nodes->lists[0].oldest == NULL && nodes->lists[1].oldest == NULL)
			set_timer(nodes, 0);
		nodes_unlock(nodes);
	} while (more);
}

bool fds_make_room(struct nodes *nodes, bool orphans)
{
	size_t lists = orphans || nodes->kept_handles == 0 ? ARRAY_SIZE(nodes->lists) : ARRAY_SIZE(nodes->lists) - 1;

	while (nodes->descriptors >= nodes->descriptors_max) {
		struct node *victim = NULL;

		for (size_t i = 0; victim == NULL && i < lists; i++)
			victim = nodes->lists[i].oldest;
		if (victim == NULL)
			return false;
		fds_drop(nodes, victim);
	}
	return true;
}

void fds_give(struct nodes *nodes, struct node *node, int fd)
{
	if (node->fd >= 0) {
		close_fd(fd);
		return;
	}
	/*
	 * With the whole budget in use an operation may still have a few descriptors of its own: they are closed with
	 * it.
	 */
	(void) fds_make_room(nodes, node->orphan);
	node->fd = fd;
	nodes->descriptors++;
	if (node->fd_users == 0)
		fds_list(nodes, node);
	fds_show_counts(nodes);
}

void fds_orphan(struct nodes *nodes, struct node *node, int fd)
{
	if (node == nodes->root) {
		close_fd(fd);
		return;
	}
	fds_unlist(nodes, node);
	if (!node->orphan)
		nodes->orphans++;
	node->orphan = true;
	if (fd >= 0)
		fds_give(nodes, node, fd);
	if (node->fd >= 0 && node->fd_users == 0 && !node->listed)
		fds_list(nodes, node);
	/* It may have had its descriptor from before, when it was one that could leave. */
	if (nodes->descriptors > nodes->descriptors_max)
		(void) fds_make_room(nodes, true);
}

void fds_named(struct nodes *nodes, struct node *node)
{
	bool listed = node->listed;

	if (!node->orphan)
		return;
	fds_unlist(nodes, node);
	node->orphan = false;
	nodes->orphans--;
	if (listed)
		fds_list(nodes, node);
}
