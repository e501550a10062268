/* SPDX-License-Identifier: Apache-2.0 */
/* A process that waits for the mount can be killed. */
#include "guest-fuse/mount/kernel/interrupts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/kernel/reply.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/lock.h"

#define EARLY_NS  INT64_C(2000000000) /* the longest that the request of an INTERRUPT is waited for */
#define SILENT_NS INT64_C(500000000)  /* a request that waits longer may be looked at without an INTERRUPT */

struct interrupts {
	struct pending *pending;
	/* INTERRUPTs that were read before their requests, which another thread may read at the same time. */
	struct lock lock;
	_Atomic unsigned count; /* of early */
	struct interrupts_early {
		uint64_t unique;
		int64_t since;
	} early[PENDING_MAX];
};

struct interrupts *interrupts_new(struct pending *pending)
{
	struct interrupts *interrupts = calloc(1, sizeof(*interrupts));

	if (interrupts == NULL)
		return NULL;
	interrupts->pending = pending;
	lock_init(&interrupts->lock);
	return interrupts;
}

void interrupts_free(struct interrupts *interrupts)
{
	if (interrupts == NULL)
		return;
	lock_done(&interrupts->lock);
	free(interrupts);
}

/* Removes unique, and those that are too old. True: unique was there. */
static bool sort_out(struct interrupts *interrupts, uint64_t unique)
{
	int64_t now = clock_ns();
	unsigned kept = 0;
	bool found = false;

	for (unsigned i = 0; i < atomic_load(&interrupts->count); i++) {
		if (interrupts->early[i].unique == unique)
			found = true;
		else if (now - interrupts->early[i].since < EARLY_NS)
			interrupts->early[kept++] = interrupts->early[i];
	}
	atomic_store(&interrupts->count, kept);
	return found;
}

static void remember(struct interrupts *interrupts, uint64_t unique)
{
	unsigned count;

	lock_take(&interrupts->lock);
	(void) sort_out(interrupts, unique);
	count = atomic_load(&interrupts->count);
	if (count < PENDING_MAX) {
		interrupts->early[count] = (struct interrupts_early){ unique, clock_ns() };
		atomic_store(&interrupts->count, count + 1);
	}
	lock_give(&interrupts->lock);
}

static bool take_back(struct interrupts *interrupts, uint64_t unique)
{
	bool found;

	lock_take(&interrupts->lock);
	found = sort_out(interrupts, unique);
	lock_give(&interrupts->lock);
	return found;
}

void interrupts_arrived(struct interrupts *interrupts, uint64_t unique)
{
	struct pending *pending = interrupts->pending;

	/* Remember first, then look; the request's thread does it in the other order, so that one finds the other. */
	remember(interrupts, unique);
	for (unsigned i = 0; i < atomic_load(&pending->count); i++)
		if (request_interrupt(pending->all[i], unique)) {
			(void) take_back(interrupts, unique);
			server_wake(pending->server);
			return;
		}
}

void interrupts_arrived_early(struct interrupts *interrupts, struct request *request)
{
	uint64_t unique = request_header(request)->unique;

	if (atomic_load(&interrupts->count) != 0 && take_back(interrupts, unique) && request_interrupt(request, unique))
		server_wake(interrupts->pending->server);
}

/* A line of /proc/PID/status that has a set of signals: sixteen hexadecimal digits. */
static uint64_t signals(const char *status, const char *key)
{
	const char *line = strstr(status, key);

	return line == NULL ? 0 : strtoull(line + strlen(key), NULL, 16);
}

bool interrupts_thread_dies(pid_t pid)
{
	char path[64], status[4096];
	_cleanup_close_ int fd = -EBADF;
	const char *state;
	ssize_t n;

	(void) snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH;
	n = read(fd, status, sizeof(status) - 1);
	if (n < 0)
		return errno == ESRCH;
	status[n] = '\0';
	state = strstr(status, "\nState:\t");
	if (state != NULL && (state[8] == 'Z' || state[8] == 'X'))
		return true;
	return ((signals(status, "\nSigPnd:") | signals(status, "\nShdPnd:")) & (UINT64_C(1) << (SIGKILL - 1))) != 0;
}

/* entry: of that very request; its thread may have another one by now, and then this does nothing. */
static void answer(struct request *request, uint64_t unique, struct uring_entry *entry)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = -EINTR, .unique = unique };
	const struct iovec iov = { .iov_base = &out, .iov_len = sizeof(out) };

	if (request_give_up(request, unique))
		(void) reply_write(entry, request->device, &iov, 1);
}

bool interrupts_serve(struct interrupts *interrupts, bool unread)
{
	const struct pending *pending = interrupts->pending;
	int64_t now = clock_ns();
	bool again = unread;

	for (unsigned i = 0; i < atomic_load(&pending->count); i++) {
		struct request *request = pending->all[i];
		struct uring_entry *entry = NULL;
		uint64_t unique;
		bool look;
		pid_t pid;

		lock_take(&request->lock);
		unique = request->unique;
		pid = request->pid;
		/* Its thread changes it only while it serves no request. */
		if (unique != 0)
			entry = request->entry;
		look = unique != 0 && !request->answered && request->interrupted;
		again = again || look;
		/* Nobody reads INTERRUPTs: any thread that waits long may be about to die. */
		if (unique != 0 && !request->answered && unread && pid != 0)
			look = look || now - atomic_load(&request->since) > SILENT_NS;
		lock_give(&request->lock);
		if (look && interrupts_thread_dies(pid))
			answer(request, unique, entry);
	}
	return again;
}
