/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about ESTALE. */
#include "guest-fuse/mount/server/stale.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "guest-fuse/mount/server/thread-call.h"
#include "protocol/clock.h"
#include "protocol/lock.h"

/* The longest that a second try takes. */
#define TOLD_NS INT64_C(10000000000)

enum { STALE_STATX = 52 /* FUSE_STATX of Linux 6.6 */ };

struct stale {
	struct lock lock;
	_Atomic unsigned count;
	/* Threads whose second try is waited for. */
	struct stale_told {
		int64_t when; /* clock_ns(); 0: free */
		uint64_t nodeid;
		uint64_t call; /* hash of the thread's system call with its arguments; 0: it cannot be seen */
		pid_t pid;
		bool twice; /* stale_expect_twice() */
		unsigned answers;
	} told[STALE_TOLD];
};

struct stale *stale_new(void)
{
	struct stale *stale = calloc(1, sizeof(*stale));

	if (stale != NULL)
		lock_init(&stale->lock);
	return stale;
}

void stale_free(struct stale *stale)
{
	if (stale == NULL)
		return;
	lock_done(&stale->lock);
	free(stale);
}

bool stale_is_awaited(const struct stale *stale)
{
	return atomic_load_explicit(&stale->count, memory_order_relaxed) != 0;
}

bool stale_awaits(struct stale *stale, pid_t pid)
{
	int64_t now = clock_ns();
	bool awaits = false;

	if (!stale_is_awaited(stale))
		return false;
	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD && !awaits; i++)
		awaits = stale->told[i].when != 0 && stale->told[i].pid == pid && now - stale->told[i].when <= TOLD_NS;
	lock_give(&stale->lock);
	return awaits;
}

static uint64_t sum_of_call(pid_t pid)
{
	char line[THREAD_CALL_LINE];
	size_t length = thread_call_read(pid, line);

	return length == 0 ? 0 : XXH3_64bits(line, length);
}

/* Requests that the kernel may send while it looks up a path again, before the second try. */
static bool is_on_the_way(uint32_t opcode)
{
	return opcode == FUSE_LOOKUP || opcode == FUSE_GETXATTR || opcode == STALE_STATX || opcode == FUSE_GETATTR ||
	       opcode == FUSE_READLINK || opcode == FUSE_ACCESS || opcode == FUSE_FORGET ||
	       opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT || opcode == FUSE_RELEASE;
}

/* Takes the thread's entry out. False: there is none. */
static bool take(struct stale *stale, pid_t pid, struct stale_told *ret_told)
{
	int64_t now = clock_ns();
	bool found = false;

	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD; i++) {
		struct stale_told *told = &stale->told[i];
		bool mine = told->pid == pid, late = now - told->when > TOLD_NS;

		if (told->when == 0 || (!mine && !late))
			continue;
		if (mine && !late) {
			*ret_told = *told;
			found = true;
		}
		told->when = 0;
		atomic_fetch_sub(&stale->count, 1);
	}
	lock_give(&stale->lock);
	return found;
}

/* The thread's last request was answered with ESTALE, and this is to be answered otherwise. The entry stays. */
static int64_t was_told(struct stale *stale, const struct fuse_in_header *in, int64_t looked_up)
{
	int64_t now = clock_ns(), when = 0;

	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD; i++) {
		const struct stale_told *told = &stale->told[i];

		if (told->when == 0 || told->pid != (pid_t) in->pid || now - told->when > TOLD_NS)
			continue;
		/* Attributes may be another object's, which the name leads to now. */
		if (told->nodeid == in->nodeid ? told->answers >= (told->twice ? 2 : 1)
		                               : in->opcode == FUSE_GETATTR && looked_up > told->when)
			when = told->when;
	}
	lock_give(&stale->lock);
	return when;
}

int64_t stale_second_of(struct stale *stale, const struct fuse_in_header *in, int64_t looked_up)
{
	pid_t pid = (pid_t) in->pid;
	struct stale_told told;
	uint64_t call;

	if (stale_is_awaited(stale) && (in->opcode == FUSE_LOOKUP || in->opcode == FUSE_GETATTR))
		return was_told(stale, in, looked_up);
	/* Any other request means that the call has ended without a second try. */
	if (!stale_is_awaited(stale) || is_on_the_way(in->opcode) || !take(stale, pid, &told) ||
	    (told.nodeid != in->nodeid && looked_up <= told.when))
		return 0;
	call = sum_of_call(pid);
	return told.call == 0 || call == 0 || told.call == call ? told.when : 0;
}

static struct stale_told *entry_of(struct stale *stale, pid_t pid) LOCK_HELD(stale->lock);
/* The thread's entry, or the one that it may have: a free one, or the oldest. */
static struct stale_told *entry_of(struct stale *stale, pid_t pid)
{
	struct stale_told *oldest = &stale->told[0];

	for (unsigned i = 0; i < STALE_TOLD; i++) {
		if (stale->told[i].when != 0 && stale->told[i].pid == pid)
			return &stale->told[i];
		if (stale->told[i].when < oldest->when)
			oldest = &stale->told[i];
	}
	return oldest;
}

void stale_note(struct stale *stale, const struct fuse_in_header *in)
{
	struct stale_told note = { .nodeid = in->nodeid, .pid = (pid_t) in->pid, .answers = 1 };
	struct stale_told *told;

	note.call = sum_of_call(note.pid);
	note.when = clock_ns();
	lock_take(&stale->lock);
	told = entry_of(stale, note.pid);
	if (told->when == 0)
		atomic_fetch_add(&stale->count, 1);
	if (told->when != 0 && told->pid == note.pid && told->nodeid == note.nodeid && told->call == note.call) {
		note.answers += told->answers;
		note.twice = told->twice;
	}
	*told = note;
	lock_give(&stale->lock);
}

void stale_expect_twice(struct stale *stale, const struct fuse_in_header *in)
{
	struct stale_told *told;

	lock_take(&stale->lock);
	told = entry_of(stale, (pid_t) in->pid);
	if (told->when != 0 && told->pid == (pid_t) in->pid && told->nodeid == in->nodeid)
		told->twice = true;
	lock_give(&stale->lock);
}

void stale_forget(struct stale *stale, const struct fuse_in_header *in)
{
	struct stale_told told;

	(void) take(stale, (pid_t) in->pid, &told);
}

static int thread_asks_by_name(pid_t pid, uint32_t opcode)
{
	char line[THREAD_CALL_LINE];

	return thread_call_read(pid, line) == 0 ? -1 : thread_call_is_by_name(line, opcode);
}

bool stale_tell(struct stale *stale, const struct fuse_in_header *in)
{
	int by_name = thread_asks_by_name((pid_t) in->pid, in->opcode);

	/* When the thread cannot be looked at: by path, if requests of this kind always are. */
	if (by_name < 0)
		by_name = in->opcode != FUSE_SETATTR && in->opcode != FUSE_SETXATTR && in->opcode != FUSE_REMOVEXATTR;
	if (by_name == 0)
		return false;
	stale_note(stale, in);
	return true;
}
