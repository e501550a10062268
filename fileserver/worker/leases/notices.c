/* SPDX-License-Identifier: Apache-2.0 */
/* From events of the host's kernel to messages to the guest. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/nodes.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum {
	DIRECTORY_CHANGES = 64, /* so many changes of one directory at once are one message */
	PATIENCE_MS = 1000,
	FILE_WHOLE = PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS,
	WHOLE = PROTO_INVALIDATE_DIRECTORY | PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS,
	PENDING = 128, /* messages that are gathered, so that changes of one object are one of them */
	/*
	 * After events that were the session's own: they come with every request that changes something, and to be
	 * woken for each would cost more than the request. The longer there is nothing else, the longer; a foreign
	 * change is seen so much later at most.
	 */
	NAP_LEAST_US = 400,
	NAP_MOST_US = 3200,
};

struct round {
	struct leases *leases;
	struct proto_invalidate_request pending[PENDING];
	unsigned count;
	unsigned foreign;
	int read; /* events */
};

/*
 * Whether one more message fits into the window. If not, waits for the guest for a while: this thread serves no one
 * else, and meanwhile the host's kernel gathers what changes.
 */
static bool has_room(struct leases *leases)
{
	struct pollfd fds[] = { { .fd = leases->wake, .events = POLLIN }, { .fd = leases->end, .events = POLLIN } };
	uint64_t sequence = atomic_load(&leases->sequence);
	int64_t until = clock_ms() + PATIENCE_MS, left;
	eventfd_t count;

	if (sequence - atomic_load(&leases->acknowledged) < WINDOW)
		return true;
	atomic_store(&leases->waiting, true);
	while (sequence - atomic_load(&leases->acknowledged) >= WINDOW && (left = until - clock_ms()) > 0 &&
	       fds[1].revents == 0) {
		if (poll(fds, ARRAY_SIZE(fds), (int) left) > 0 && fds[0].revents != 0)
			(void) eventfd_read(leases->wake, &count);
	}
	atomic_store(&leases->waiting, false);
	/* There may have been another reason to be woken. */
	(void) eventfd_write(leases->wake, 1);
	return sequence - atomic_load(&leases->acknowledged) < WINDOW;
}

static void send(struct leases *leases, struct proto_invalidate_request *message)
{
	uint64_t sequence = atomic_load(&leases->sequence);

	if (atomic_load(&leases->behind))
		return;
	if (!has_room(leases)) {
		atomic_store(&leases->behind, true);
		leases_show_state(leases, LEASES_BEHIND);
		return;
	}
	message->sequence = sequence + 1;
	atomic_store(&leases->sequence, sequence + 1);
	(void) leases->sink.send(leases->sink.context, message);
}

/* more: PROTO_INVALIDATE_CONTENTS or 0. */
static void send_all(struct leases *leases, uint32_t more)
{
	struct proto_invalidate_request message = { .what = PROTO_INVALIDATE_ALL | more };

	send(leases, &message);
}

static void flush(struct round *round)
{
	for (unsigned i = 0; i < round->count; i++)
		send(round->leases, &round->pending[i]);
	round->count = 0;
}

/* Adds a message, or adds to one that is about the same name; directory 0: about the same node. */
static void gather(struct round *round, uint64_t directory, uint64_t node, uint32_t what, const char *name)
{
	struct proto_invalidate_request *message;

	for (unsigned i = round->count; i > 0; i--) {
		message = &round->pending[i - 1];
		if (message->directory != directory || strcmp(message->name.text, name) != 0 ||
		    (directory == 0 && message->node != node))
			continue;
		if (node != 0 && message->node != 0 && node != message->node)
			break;
		message->what |= what;
		message->node |= node;
		return;
	}
	if (round->count == PENDING)
		flush(round);
	message = &round->pending[round->count];
	*message = (struct proto_invalidate_request){ .what = what, .directory = directory, .node = node };
	if (name[0] != '\0' && proto_name_set(&message->name, name) < 0)
		return;
	round->count++;
}

/* The file at a name that was just made, if it has several: its number of links has changed at the other ones. */
static uint64_t linked(struct leases *leases, int directory, const char *name)
{
	struct statx stx;

	return statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODES_STATX, &stx) == 0 &&
	                       !S_ISDIR(stx.stx_mode) && stx.stx_nlink > 1
	               ? nodes_find(leases->nodes, &stx)
	               : 0;
}

/*
 * A directory that was removed is told of before what was removed in it, and those above it before: or for a moment the
 * guest would look names up in directories whose names lead to others by now, and find them missing.
 */
static void gather_removed(struct round *round, struct node *directory)
{
	struct leases *leases = round->leases;
	char name[PROTO_NAME_MAX + 1];
	struct node *parent;
	struct node_fd fd;
	struct stat st;
	bool is_there;

	/* One that is not where it was, and has no descriptor, may as well have been removed. */
	is_there = nodes_fd_in_place(leases->nodes, directory, &fd) == 0;
	if (is_there) {
		is_there = fstat(fd.fd, &st) == 0 && st.st_nlink > 0;
		nodes_fd_done(leases->nodes, &fd);
	}
	if (is_there || nodes_place(leases->nodes, directory, &parent, name) < 0)
		return;
	gather_removed(round, parent);
	gather(round, nodes_id(parent), 0, PROTO_INVALIDATE_NAME, name);
	nodes_put(leases->nodes, parent);
}

/* A name has changed. Returns what the guest is to be told of besides: the id of a file, or 0. */
static uint64_t take_name(struct round *round, const struct hostwatch_event *event)
{
	struct leases *leases = round->leases;
	struct node *directory;
	struct node_fd fd;
	uint64_t node = 0;

	if (nodes_get(leases->nodes, event->watch, &directory) < 0)
		return 0;
	gather_removed(round, directory);
	if (!event->directory && event->name[0] != '\0' && nodes_fd_in_place(leases->nodes, directory, &fd) == 0) {
		node = linked(leases, fd.fd, event->name);
		nodes_fd_done(leases->nodes, &fd);
	}
	nodes_put(leases->nodes, directory);
	return node;
}

static uint32_t what_of(const struct hostwatch_event *event)
{
	uint32_t what = 0;

	if ((event->what & HOSTWATCH_NAME) != 0)
		what |= PROTO_INVALIDATE_NAME;
	if ((event->what & HOSTWATCH_ATTRIBUTES) != 0)
		what |= PROTO_INVALIDATE_ATTRIBUTES;
	if ((event->what & HOSTWATCH_CONTENTS) != 0)
		what |= PROTO_INVALIDATE_CONTENTS;
	/* A directory's own record holds what symbolic links in it look like, and its mode who may look into it. */
	if (event->name[0] == '\0')
		what |= PROTO_INVALIDATE_DIRECTORY | PROTO_INVALIDATE_ATTRIBUTES;
	return what;
}

/* Counts an event, and sees to what is the same for all. Returns whether the guest is to be told of it. */
static bool is_to_be_told(struct round *round, const struct hostwatch_event *event)
{
	struct leases *leases = round->leases;

	if ((event->what & HOSTWATCH_OVERFLOW) != 0) {
		if (leases->counters != NULL)
			proto_counter_add(&leases->counters->lease_overflows, 1);
		leases_note_missed(leases);
		round->foreign++;
		round->count = 0;
		leases_lose_all(leases, PROTO_INVALIDATE_CONTENTS);
		return false;
	}
	/* The watch of its directory has told that the name is gone. */
	if ((event->what & HOSTWATCH_GONE) != 0)
		leases_watch_gone(leases, event->watch);
	leases_note_touched(leases, event->watch, event->name, event->own);
	if (event->own || (event->what & ~(unsigned) HOSTWATCH_GONE) == 0)
		return false;
	round->foreign++;
	if (leases->counters != NULL)
		proto_counter_add(&leases->counters->lease_events, 1);
	return !atomic_load(&leases->behind);
}

/* Of a directory's watch. */
static void take(void *context, const struct hostwatch_event *event)
{
	struct round *round = context;
	struct leases *leases = round->leases;
	uint64_t node = 0;

	if (!is_to_be_told(round, event))
		return;
	if (leases_count_change(leases, event->watch) > DIRECTORY_CHANGES) {
		gather(round, event->watch, 0, WHOLE, "");
		return;
	}
	if ((event->what & HOSTWATCH_NAME) != 0)
		node = take_name(round, event);
	gather(round, event->watch, node, what_of(event), event->name);
}

static int read_watch(struct round *round, enum lease_kind kind, hostwatch_take *take_event)
{
	struct hostwatch *watch = atomic_load(&round->leases->watches[kind]);
	int count = watch == NULL ? 0 : hostwatch_read(watch, take_event, round);

	if (count >= 0)
		return count;
	/* Some may have been lost. */
	leases_lose_all(round->leases, PROTO_INVALIDATE_CONTENTS);
	return 0;
}

/* The object at a name, as far as it is known. */
static uint64_t named(struct leases *leases, int directory, const char *name)
{
	struct statx stx;

	return statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODES_STATX, &stx) == 0
	               ? nodes_find(leases->nodes, &stx)
	               : 0;
}

/* Whether the file has no name any more, as far as that can be found out. */
static bool is_removed(struct leases *leases, struct node *node)
{
	struct handle *reader = nodes_reader(leases->nodes, node);
	struct stat st;
	bool removed = reader != NULL && fstat(reader->fd, &st) == 0 && st.st_nlink == 0;

	nodes_handle_put(leases->nodes, reader);
	return removed;
}

/*
 * A file's attributes are not told before it is told that it is gone from the only name that the guest knows, or for a
 * moment they would be seen there. Returns false if the watch of that directory tells all that there is: the file has
 * lost its last name.
 */
static bool tell_gone(struct round *round, struct node *node)
{
	struct leases *leases = round->leases;
	struct node *directory = NULL;
	char name[PROTO_NAME_MAX + 1];
	struct node_fd fd;
	bool more = true;

	if (nodes_watched_name(leases->nodes, node, &directory, name) < 0)
		return true;
	if (nodes_fd_in_place(leases->nodes, directory, &fd) == 0) {
		bool gone = named(leases, fd.fd, name) != nodes_id(node);

		nodes_fd_done(leases->nodes, &fd);
		more = !gone || !is_removed(leases, node);
		if (gone && more)
			gather(round, nodes_id(directory), 0, PROTO_INVALIDATE_NAME, name);
	}
	nodes_put(leases->nodes, directory);
	return more;
}

/* Whether a file's attributes are to be told now. */
static bool is_to_be_shown(struct round *round, const struct hostwatch_event *event)
{
	struct leases *leases = round->leases;
	struct node *node;
	bool shown;

	if (event->what != HOSTWATCH_ATTRIBUTES)
		return true;
	if (nodes_get(leases->nodes, event->watch, &node) < 0)
		return false;
	shown = tell_gone(round, node);
	nodes_put(leases->nodes, node);
	return shown;
}

/* Of a file's own watch: by whatever name it was changed, or opened. */
static void take_file(void *context, const struct hostwatch_event *event)
{
	struct hostwatch_event change = *event;
	struct round *round = context;
	uint32_t what = PROTO_INVALIDATE_ATTRIBUTES;

	/* What happened to names before this is told before this. */
	round->read += read_watch(round, LEASE_DIRECTORY, take);
	change.what &= ~(unsigned) HOSTWATCH_OPENED;
	if ((change.what & HOSTWATCH_CONTENTS) != 0)
		what |= PROTO_INVALIDATE_CONTENTS;
	if (change.what != 0 && is_to_be_told(round, &change) && is_to_be_shown(round, &change))
		gather(round, 0, event->watch, what, "");
	if (change.what != event->what && !event->own && leases_opened_by_others(round->leases, event->watch))
		gather(round, 0, event->watch, FILE_WHOLE, "");
}

/* Tells the guest what is not watched any more, or was found to have changed. */
static void tell_lost(struct leases *leases)
{
	uint32_t all;
	struct lost *lost;
	size_t count;

	all = leases_take_lost(leases, &lost, &count);
	if (all != 0) {
		send_all(leases, all & PROTO_INVALIDATE_CONTENTS);
		count = 0;
	}
	for (size_t i = 0; i < count; i++) {
		bool file = lost[i].kind == LEASE_FILE;
		struct proto_invalidate_request message = { .what = file ? FILE_WHOLE : WHOLE,
			                                    .directory = file ? 0 : lost[i].id,
			                                    .node = file ? lost[i].id : 0 };

		send(leases, &message);
	}
	free(lost);
}

/* Reads what is queued, and sends it. Returns how many events were not the session's own. */
static int read_events(struct leases *leases, int *ret_read)
{
	struct round round = { .leases = leases };

	leases->batch++;
	round.read = read_watch(&round, LEASE_DIRECTORY, take);
	round.read += read_watch(&round, LEASE_FILE, take_file);
	*ret_read = round.read;
	flush(&round);
	tell_lost(leases);
	return (int) round.foreign;
}

/* The guest has caught up: leases are given again, and it forgets what it knew before. */
static void catch_up(struct leases *leases)
{
	if (!atomic_load(&leases->behind) || atomic_load(&leases->acknowledged) < atomic_load(&leases->sequence))
		return;
	atomic_store(&leases->behind, false);
	leases_show_state(leases, LEASES_GIVEN);
	send_all(leases, PROTO_INVALIDATE_CONTENTS);
}

/* Calls synced() for those whose changes the guest has acted on. */
static void answer_syncs(struct leases *leases)
{
	uint64_t acknowledged = atomic_load(&leases->acknowledged), ticket = 0;
	unsigned done = 0;

	lock_take(&leases->lock);
	while (done < leases->syncs_count && leases->syncs[done].sequence <= acknowledged)
		ticket = leases->syncs[done++].ticket;
	leases->syncs_count -= done;
	memmove(leases->syncs, leases->syncs + done, leases->syncs_count * sizeof(leases->syncs[0]));
	lock_give(&leases->lock);
	if (ticket != 0)
		leases->sink.synced(leases->sink.context, ticket);
}

/* The ticket, which came before the last reading of events, waits for an acknowledgement of what was sent by now. */
static void begin_sync(struct leases *leases, uint64_t ticket)
{
	uint64_t sequence = atomic_load(&leases->sequence);

	if (ticket == 0)
		return;
	/* What was not sent is told with ALL once the guest has caught up. */
	if (atomic_load(&leases->behind))
		sequence++;
	lock_take(&leases->lock);
	/* Where there is no room the one before waits as long as this one, and is answered with it. */
	if (leases->syncs_count == SYNCS_MAX)
		leases->syncs_count--;
	leases->syncs[leases->syncs_count].ticket = ticket;
	leases->syncs[leases->syncs_count++].sequence = sequence;
	lock_give(&leases->lock);
}

static uint64_t take_wanted(struct leases *leases)
{
	uint64_t ticket;

	lock_take(&leases->lock);
	ticket = leases->wanted_sync;
	leases->wanted_sync = 0;
	lock_give(&leases->lock);
	return ticket;
}

static void tell_contents(struct leases *leases, uint64_t id)
{
	struct proto_invalidate_request message = { .what = PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS,
		                                    .node = id };

	send(leases, &message);
}

/* Waits for something to do, but no longer than this; -1: without a limit. nap: so long not for events; 0: for all. */
static int wait_for(struct pollfd *fds, size_t count, int nap_us, int ms)
{
	const struct timespec nap = clock_timespec_us(nap_us), until = clock_timespec_us((int64_t) ms * 1000);

	if (nap_us > 0 && ms != 0)
		return ppoll(fds, count - 2, &nap, NULL);
	return ppoll(fds, count, ms < 0 ? NULL : &until, NULL);
}

void leases_run(struct leases *leases, int end)
{
	struct pollfd fds[] = {
		{ .fd = end, .events = POLLIN },
		{ .fd = leases->wake, .events = POLLIN },
		{ .fd = mounts_fd(leases->mounts), .events = POLLPRI },
		{ .fd = hostwatch_fd(atomic_load(&leases->watches[LEASE_DIRECTORY])), .events = POLLIN },
		{ .fd = -EBADF, .events = POLLIN },
	};
	int look_in = -1, nap_us = 0;

	leases->end = end;
	while (fds[0].revents == 0) {
		struct hostwatch *files = atomic_load(&leases->watches[LEASE_FILE]);
		eventfd_t count;
		uint64_t ticket;
		int foreign, read;

		fds[4].fd = files == NULL ? -EBADF : hostwatch_fd(files);
		if (wait_for(fds, ARRAY_SIZE(fds), nap_us, look_in) < 0 && errno != EINTR)
			return;
		if (fds[1].revents != 0)
			(void) eventfd_read(leases->wake, &count);
		ticket = take_wanted(leases);
		/* A mount may have been made after poll() and before the ticket. */
		if (ticket != 0)
			(void) poll(&fds[2], 1, 0);
		if (fds[2].revents != 0 && mounts_changed(leases->mounts)) {
			leases_note_missed(leases);
			leases_restart(leases);
		}
		/* Of some changes before the ticket there was no event. */
		if (ticket != 0)
			leases_look_now(leases);
		foreign = read_events(leases, &read);
		begin_sync(leases, ticket);
		catch_up(leases);
		answer_syncs(leases);
		look_in = leases_look_at_open(leases, tell_contents);
		if (read == 0 || foreign > 0)
			nap_us = 0;
		else
			nap_us = nap_us == 0 ? NAP_LEAST_US : nap_us < NAP_MOST_US ? nap_us * 2 : nap_us;
	}
}

void leases_acknowledged(struct leases *leases, uint64_t sequence)
{
	if (leases == NULL || sequence > atomic_load(&leases->sequence) ||
	    sequence <= atomic_load(&leases->acknowledged))
		return;
	atomic_store(&leases->acknowledged, sequence);
	if (atomic_load(&leases->behind) || atomic_load(&leases->waiting))
		(void) eventfd_write(leases->wake, 1);
	if (!atomic_load(&leases->behind))
		answer_syncs(leases);
}

void leases_sync(struct leases *leases, uint64_t ticket)
{
	lock_take(&leases->lock);
	leases->wanted_sync = ticket;
	lock_give(&leases->lock);
	(void) eventfd_write(leases->wake, 1);
}

void leases_kept(struct leases *leases, uint32_t ms)
{
	int64_t until = clock_ms() + ms, before = atomic_load(&leases->kept_until);

	while (until > before && !atomic_compare_exchange_weak(&leases->kept_until, &before, until))
		;
}

uint32_t leases_kept_for(const struct leases *leases)
{
	int64_t left = atomic_load(&leases->kept_until) - clock_ms();

	return left > 0 ? (uint32_t) left : 0;
}

void leases_drop_names(struct leases *leases)
{
	if (leases != NULL)
		leases_lose_all(leases, 0);
}
