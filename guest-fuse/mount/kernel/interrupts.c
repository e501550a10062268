/* SPDX-License-Identifier: Apache-2.0 */
/* A process that is stuck on the mount can be killed. */
#include "guest-fuse/mount/kernel/interrupts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/client.h"
#include "protocol/clock.h"
#include "protocol/cleanup.h"

#define EARLY_NS  INT64_C(2000000000) /* an INTERRUPT whose request does not come is for one that was answered */
#define SILENT_NS INT64_C(500000000)

/* Leaves out those that are too old, and unique. True: unique was there. With the lock held. */
static bool sort_out(struct lanes *lanes, uint64_t unique)
{
	int64_t now = clock_ns();
	unsigned kept = 0;
	bool found = false;

	for (unsigned i = 0; i < atomic_load(&lanes->early_count); i++) {
		if (lanes->early[i].unique == unique)
			found = true;
		else if (now - lanes->early[i].since < EARLY_NS)
			lanes->early[kept++] = lanes->early[i];
	}
	atomic_store(&lanes->early_count, kept);
	return found;
}

static void remember(struct lanes *lanes, uint64_t unique)
{
	unsigned count;

	pthread_mutex_lock(&lanes->early_lock);
	(void) sort_out(lanes, unique);
	count = atomic_load(&lanes->early_count);
	if (count < LANES_MAX) {
		lanes->early[count] = (struct lanes_early){ unique, clock_ns() };
		atomic_store(&lanes->early_count, count + 1);
	}
	pthread_mutex_unlock(&lanes->early_lock);
}

static bool take_back(struct lanes *lanes, uint64_t unique)
{
	bool found;

	pthread_mutex_lock(&lanes->early_lock);
	found = sort_out(lanes, unique);
	pthread_mutex_unlock(&lanes->early_lock);
	return found;
}

static bool mark(struct lane *lane, uint64_t unique)
{
	bool found;

	pthread_mutex_lock(&lane->state);
	found = lane->unique == unique;
	if (found)
		lane->interrupted = true;
	pthread_mutex_unlock(&lane->state);
	return found;
}

void interrupts_arrived(struct lanes *lanes, uint64_t unique)
{
	/* First remembered, then looked for; the request's thread goes the other way: one of the two finds the other.
	 */
	remember(lanes, unique);
	for (unsigned i = 0; i < atomic_load(&lanes->count); i++)
		if (mark(lanes->all[i], unique)) {
			(void) take_back(lanes, unique);
			client_wake(lanes->client);
			return;
		}
}

void interrupts_arrived_early(struct lanes *lanes, struct lane *lane)
{
	uint64_t unique = lane_request(lane)->unique;

	if (atomic_load(&lanes->early_count) != 0 && take_back(lanes, unique) && mark(lane, unique))
		client_wake(lanes->client);
}

/* The set of signals in a line of /proc/PID/status: sixteen hexadecimal digits. */
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

static void answer(struct lane *lane, uint64_t unique)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = -EINTR, .unique = unique };

	if (lane_answer(lane, unique))
		(void) !write(lane->device, &out, sizeof(out));
}

bool interrupts_serve(struct lanes *lanes)
{
	bool saturated = atomic_load(&lanes->saturated), again = saturated;
	int64_t now = clock_ns();

	for (unsigned i = 0; i < atomic_load(&lanes->count); i++) {
		struct lane *lane = lanes->all[i];
		uint64_t unique;
		bool look;
		pid_t pid;

		pthread_mutex_lock(&lane->state);
		unique = lane->unique;
		pid = lane->pid;
		look = unique != 0 && !lane->answered && lane->interrupted;
		again = again || look;
		/* No thread reads INTERRUPT: whoever waits long may be about to die. */
		if (unique != 0 && !lane->answered && saturated && pid != 0)
			look = look || now - atomic_load(&lane->since) > SILENT_NS;
		pthread_mutex_unlock(&lane->state);
		if (look && interrupts_thread_dies(pid))
			answer(lane, unique);
	}
	return again;
}
