/* SPDX-License-Identifier: Apache-2.0 */
/* Leases on a scratch directory, without a session. */
#include "tests/fileserver/worker/leasing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "tests/support/scratch.h"

enum { WAIT_MS = 10000 };

static int on_send(void *context, const struct proto_invalidate_request *message)
{
	struct leasing *leasing = context;

	lock_take(&leasing->lock);
	if (leasing->count < LEASING_TOLD)
		leasing->told[leasing->count++] = *message;
	lock_give(&leasing->lock);
	if (leasing->acknowledges)
		leases_acknowledged(leasing->leases, message->sequence);
	return 0;
}

static void on_synced(void *context, uint64_t ticket)
{
	struct leasing *leasing = context;

	lock_take(&leasing->lock);
	leasing->synced = ticket;
	leasing->synced_count++;
	lock_give(&leasing->lock);
}

void leasing_begin(struct leasing *leasing, uint32_t most)
{
	const struct leases_sink sink = { .send = on_send, .synced = on_synced, .context = leasing };
	int root;

	memset(leasing, 0, sizeof(*leasing));
	lock_init(&leasing->lock);
	leasing->end = eventfd(0, EFD_CLOEXEC);
	root = open(scratch_path(""), O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0 && leasing->end >= 0);
	assert_int_equal(nodes_new(root, 10000, 1000, &leasing->counters, &leasing->nodes), 0);
	assert_int_equal(leases_new(leasing->nodes, root, most, &sink, &leasing->counters, &leasing->leases), 0);
}

static void *run(void *argument)
{
	struct leasing *leasing = argument;

	leases_run(leasing->leases, leasing->end);
	return NULL;
}

void leasing_run(struct leasing *leasing, bool acknowledges)
{
	leasing->acknowledges = acknowledges;
	assert_int_equal(pthread_create(&leasing->thread, NULL, run, leasing), 0);
	leasing->running = true;
}

void leasing_end(struct leasing *leasing)
{
	(void) eventfd_write(leasing->end, 1);
	if (leasing->running)
		(void) pthread_join(leasing->thread, NULL);
	nodes_free(leasing->nodes);
	leases_free(leasing->leases);
	close_fd(leasing->end);
	lock_done(&leasing->lock);
}

struct node *leasing_learn(struct leasing *leasing, struct node *parent, const char *name, const char *path,
                           unsigned references)
{
	struct node *root = NULL, *node = NULL;
	struct statx stx;
	int r;

	if (parent == NULL) {
		int fd = open(scratch_path(""), O_PATH | O_DIRECTORY | O_CLOEXEC);

		assert_int_equal(statx(fd, "", AT_EMPTY_PATH, NODES_STATX, &stx), 0);
		close(fd);
		assert_int_equal(nodes_learn(leasing->nodes, NULL, NULL, &stx, -EBADF, false, &root), 0);
		if (name == NULL)
			return root;
		parent = root;
	}
	assert_int_equal(statx(AT_FDCWD, scratch_path(path), AT_SYMLINK_NOFOLLOW, NODES_STATX, &stx), 0);
	for (unsigned i = 0; i < references || i == 0; i++) {
		nodes_put(leasing->nodes, node);
		r = nodes_learn(leasing->nodes, parent, name, &stx, -EBADF, references > 0, &node);
		assert_int_equal(r, 0);
	}
	nodes_put(leasing->nodes, root);
	return node;
}

bool leasing_hold(struct leasing *leasing, struct node *node)
{
	struct node_fd fd;
	bool held;

	assert_int_equal(nodes_fd(leasing->nodes, node, &fd), 0);
	held = leases_hold(leasing->leases, node, fd.fd);
	nodes_fd_done(leasing->nodes, &fd);
	return held;
}

static int find(struct leasing *leasing, uint64_t directory, const char *name, uint32_t what)
{
	int found = -1;

	lock_take(&leasing->lock);
	for (unsigned i = 0; i < leasing->count && found < 0; i++) {
		const struct proto_invalidate_request *told = &leasing->told[i];

		if (told->directory == directory && (told->what & what) == what && strcmp(told->name.text, name) == 0)
			found = (int) i;
	}
	lock_give(&leasing->lock);
	return found;
}

unsigned leasing_wait(struct leasing *leasing, uint64_t directory, const char *name, uint32_t what)
{
	int64_t until = clock_ms() + WAIT_MS;
	int found;

	while ((found = find(leasing, directory, name, what)) < 0) {
		assert_true(clock_ms() < until);
		(void) usleep(500);
	}
	return (unsigned) found;
}

struct proto_invalidate_request leasing_told(struct leasing *leasing, unsigned index)
{
	struct proto_invalidate_request told;

	lock_take(&leasing->lock);
	assert_true(index < leasing->count);
	told = leasing->told[index];
	lock_give(&leasing->lock);
	return told;
}

unsigned leasing_count(struct leasing *leasing)
{
	unsigned count;

	lock_take(&leasing->lock);
	count = leasing->count;
	lock_give(&leasing->lock);
	return count;
}

void leasing_elsewhere(const char *command)
{
	char line[1024];

	(void) snprintf(line, sizeof(line), "cd '%s' && { %s ; }", scratch_path(""), command);
	/* NOLINTNEXTLINE(cert-env33-c) */
	assert_int_equal(system(line), 0);
}
