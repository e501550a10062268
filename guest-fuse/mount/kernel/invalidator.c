/* SPDX-License-Identifier: Apache-2.0 */
/* Acts on INVALIDATE. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/invalidator.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/kernel/notice-list.h"
#include "guest-fuse/mount/kernel/scan.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/lock.h"
#include "protocol/log.h"

enum {
	STACK = 256 * 1024,
	NOTICES_MAX = 4096,  /* a server that keeps to its window has fewer under way */
	ABSENT_AT_ONCE = 64, /* names */
	EXPIRE_ONLY = 1,     /* FUSE_EXPIRE_ONLY of Linux 6.2 */
	LATER_MAX = 1024,
	MEMORY_US = 10000, /* wait when there is none: what does not hold must go */
	ANSWERED_US = 500, /* in which the kernel has taken an answer that it was given */
	ASKING_MS = 50,    /* so long an open question is waited for */
	UNCHANGED_MS = 20, /* more than a tick of the host's clock */
	UNASKED_MS = 100,
};

struct invalidator {
	struct client *client;
	pthread_t thread;
	bool running;
	struct lock lock; /* guards what follows */
	pthread_cond_t wake;
	struct notice_list notices, later[LATERS];
	uint64_t told; /* sequence of the last INVALIDATE of which the kernel was told; but see acted_on() */
	bool ending;
};

struct invalidator *invalidator_new(struct client *client)
{
	struct invalidator *invalidator = calloc(1, sizeof(*invalidator));

	if (invalidator == NULL)
		return NULL;
	invalidator->client = client;
	lock_init(&invalidator->lock);
	lock_condition_init(&invalidator->wake);
	notice_list_init(&invalidator->notices);
	for (size_t i = 0; i < LATERS; i++)
		notice_list_init(&invalidator->later[i]);
	return invalidator;
}

void invalidator_free(struct invalidator *invalidator)
{
	if (invalidator == NULL)
		return;
	notice_list_done(&invalidator->notices);
	for (size_t i = 0; i < LATERS; i++)
		notice_list_done(&invalidator->later[i]);
	pthread_cond_destroy(&invalidator->wake);
	lock_done(&invalidator->lock);
	free(invalidator);
}

/*
 * The kernel has the name looked up again; with EXPIRE_ONLY what is mounted there stays. flags 0 also removes it from
 * the kernel's cache, unless it is not there. Either way the kernel takes the directory's lock.
 */
static void tell_name(const struct client *client, uint64_t directory, const struct proto_name *name, uint32_t flags)
{
	struct fuse_notify_inval_entry_out entry = { .parent = client_ino(client, directory),
		                                     .namelen = (uint32_t) name->length };
	struct fuse_out_header out = { .len = (uint32_t) (sizeof(out) + sizeof(entry) + name->length + 1),
		                       .error = FUSE_NOTIFY_INVAL_ENTRY };
	struct iovec iov[] = { { .iov_base = &out, .iov_len = sizeof(out) },
		               { .iov_base = &entry, .iov_len = sizeof(entry) },
		               { .iov_base = (void *) name->text, .iov_len = name->length + 1 } };

	/* Called padding in the headers of Linux 6.1. */
	memcpy((char *) &entry + offsetof(struct fuse_notify_inval_entry_out, namelen) + sizeof(entry.namelen), &flags,
	       sizeof(flags));
	/* ENOENT: the kernel does not know the name. */
	if (FAULT(MOUNT_NOTIFY, writev(client->device, iov, ARRAY_SIZE(iov))) < 0 && errno != ENOENT)
		log_debug("the kernel was not told of a name: %s", strerror(errno));
}

/* Waits until no name of the directory is being looked up: the name cannot be one of the server's. */
static void pass_lock(const struct client *client, uint64_t directory)
{
	static const struct proto_name nobody = { .length = 1, .text = "/" };

	tell_name(client, directory, &nobody, EXPIRE_ONLY);
}

static void tell_inode(const struct client *client, uint64_t node, bool contents)
{
	(void) fuse_lowlevel_notify_inval_inode(client->fuse, client_ino(client, node), contents ? 0 : -1, 0);
}

/*
 * Whether a file that waits since then, or not yet, is to wait. Attributes that the kernel keeps it does not ask for.
 * When it has only pages, it asks each time, and may do so at any moment if it has lately; but with the first answer it
 * drops the pages by itself, unless the change does not show in size and times.
 */
static bool is_to_wait(const struct objects_kernel *kernel, int64_t since)
{
	int64_t now = clock_ns(), unasked = now - kernel->asked;
	bool answered = !kernel->asking && unasked >= ANSWERED_US * INT64_C(1000);

	if (kernel->attributes)
		return !answered && clock_ms() - since < ASKING_MS;
	/* An answer that is not used would have said the same as the last one. */
	if (kernel->asked > kernel->changed && now - kernel->changed >= UNCHANGED_MS * INT64_C(1000000))
		return false;
	return unasked < UNASKED_MS * INT64_C(1000000) || kernel->asking;
}

/* Tells the kernel to drop what it may have of a file. Returns false when that has to wait; *ret_later: in this list.
 */
static bool tell_file(const struct client *client, uint64_t node, bool contents, int64_t since, enum later *ret_later)
{
	struct objects_kernel kernel;

	if (!objects_kernel(client->objects, node, &kernel)) {
		tell_inode(client, node, contents);
		return true;
	}
	contents = contents && kernel.pages;
	if (!kernel.attributes && !contents)
		return true;
	if (is_to_wait(&kernel, since)) {
		*ret_later = kernel.attributes ? LATER_FILE : LATER_PAGES;
		return false;
	}
	objects_kernel_told(client->objects, node, contents);
	tell_inode(client, node, contents);
	return true;
}

/*
 * Takes the notice over. Files wait in the order of their sequences (acted_on()). One more for the pages of a file that
 * waits already is not needed.
 */
static void put_off(struct invalidator *invalidator, struct notice *notice) LOCK_HELD(invalidator->lock);
static void put_off(struct invalidator *invalidator, struct notice *notice)
{
	struct notice_list *list = &invalidator->later[notice->later];
	struct notice **at = notice->later == LATER_FILE || notice->later == LATER_PAGES ? &list->first : list->last;

	notice->at = clock_ms() + notice_list_later_ms[notice->later];
	while (*at != NULL &&
	       (notice->later == LATER_FILE ? (*at)->sequence <= notice->sequence : (*at)->node != notice->node))
		at = &(*at)->next;
	if (notice->later == LATER_PAGES && *at != NULL)
		free(notice);
	else
		notice_list_insert(list, notice, at);
}

static void tell_object(struct invalidator *invalidator, uint64_t sequence, uint64_t node, bool contents)
{
	struct notice *notice;
	enum later later;

	if (tell_file(invalidator->client, node, contents, clock_ms(), &later))
		return;
	while ((notice = calloc(1, sizeof(*notice))) == NULL)
		(void) usleep(MEMORY_US);
	*notice = (struct notice){ .sequence = sequence,
		                   .what = contents ? PROTO_INVALIDATE_CONTENTS : 0,
		                   .node = node,
		                   .later = later,
		                   .since = clock_ms() };
	lock_take(&invalidator->lock);
	put_off(invalidator, notice);
	lock_give(&invalidator->lock);
}

static uint32_t expire_flags(const struct client *client)
{
	return client->validity->expires ? EXPIRE_ONLY : 0;
}

static void tell_absent(const struct client *client, uint64_t directory)
{
	struct absent_name names[ABSENT_AT_ONCE];
	size_t count;

	do {
		count = absent_take(client->absent, directory, names, ARRAY_SIZE(names));
		for (size_t i = 0; i < count; i++)
			tell_name(client, names[i].parent, &names[i].name, 0);
	} while (count == ARRAY_SIZE(names));
}

/*
 * Every name in a directory, or of all (0), and what is there. The names may still be right, so that what is mounted on
 * them must stay.
 */
static void tell_directory(struct invalidator *invalidator, uint64_t sequence, uint64_t directory, bool contents)
{
	const struct client *client = invalidator->client;
	struct proto_name name;
	uint64_t *ids, parent;
	size_t count;

	while (objects_children(client->objects, directory, NULL, &ids, &count) < 0)
		(void) usleep(MEMORY_US);
	for (size_t i = 0; i < count; i++) {
		if (objects_place(client->objects, ids[i], &parent, &name) && name.length > 0)
			tell_name(client, parent, &name, expire_flags(client));
		tell_object(invalidator, sequence, ids[i], contents || objects_is_directory(client->objects, ids[i]));
	}
	free(ids);
	tell_absent(client, directory);
}

/*
 * An answer may have told of what has the name now before the news came. Then it is the file that had the name before
 * whose number of links has changed.
 */
static void tell_former(struct invalidator *invalidator, const struct notice *notice)
{
	struct objects *objects = invalidator->client->objects;
	uint64_t *ids;
	size_t count;

	while (objects_children(objects, notice->directory, notice->name.text, &ids, &count) < 0)
		(void) usleep(MEMORY_US);
	for (size_t i = 0; i < count; i++)
		if (ids[i] != notice->named)
			tell_object(invalidator, notice->sequence, ids[i], false);
	free(ids);
}

/* Of the file that had the name nothing else is known to have changed than that it lost it. */
static bool is_only_renamed(const struct notice *notice)
{
	return notice->what == PROTO_INVALIDATE_NAME && notice->named != 0 && !notice->named_directory;
}

/* An object is meant whatever its name is, its contents as well. */
static bool is_about_node(uint64_t directory)
{
	return directory == 0;
}

static void tell(struct invalidator *invalidator, const struct notice *notice)
{
	const struct client *client = invalidator->client;
	uint64_t sequence = notice->sequence;
	bool at_name = notice->name.length > 0, contents = (notice->what & PROTO_INVALIDATE_CONTENTS) != 0;

	if ((notice->what & PROTO_INVALIDATE_ALL) != 0) {
		tell_directory(invalidator, sequence, 0, contents);
		tell_inode(client, client->root, true);
		return;
	}
	if ((notice->what & PROTO_INVALIDATE_DIRECTORY) != 0)
		tell_directory(invalidator, sequence, notice->directory, contents);
	if (at_name && (notice->what & PROTO_INVALIDATE_NAME) != 0) {
		tell_name(client, notice->directory, &notice->name, notice->named_directory ? expire_flags(client) : 0);
		tell_former(invalidator, notice);
	} else if (at_name) {
		pass_lock(client, notice->directory);
	}
	if (notice->named != 0 && !is_only_renamed(notice))
		tell_object(invalidator, sequence, notice->named, contents);
	if (notice->node != 0 && notice->node != notice->named)
		tell_object(invalidator, sequence, notice->node, contents && is_about_node(notice->directory));
	/* Names in it have changed, so that its times have; and the kernel's listing of it. */
	if (notice->directory != 0 && (!at_name || (notice->what & PROTO_INVALIDATE_NAME) != 0))
		tell_inode(client, notice->directory, true);
}

static struct notice *next(struct invalidator *invalidator)
{
	struct notice *notice = NULL;

	lock_take(&invalidator->lock);
	while (notice == NULL && !invalidator->ending) {
		int64_t now = clock_ms(), due = INT64_MAX;

		for (size_t i = 0; i < LATERS && notice == NULL; i++) {
			struct notice_list *list = &invalidator->later[i];

			if (list->count > 0 && (list->first->at <= now || list->count > LATER_MAX))
				notice = notice_list_take_first(list);
			else if (list->count > 0 && list->first->at < due)
				due = list->first->at;
		}
		if (notice == NULL && invalidator->notices.count > 0)
			notice = notice_list_take_first(&invalidator->notices);
		else if (notice == NULL && due == INT64_MAX)
			lock_wait(&invalidator->lock, &invalidator->wake);
		else if (notice == NULL) {
			const struct timespec until = clock_deadline_ms((int) (due - now));

			(void) lock_wait_until(&invalidator->lock, &invalidator->wake, &until);
		}
	}
	lock_give(&invalidator->lock);
	return notice;
}

static uint64_t acted_on(const struct invalidator *invalidator) LOCK_HELD(invalidator->lock);
/* The last INVALIDATE of which the kernel was told everything. */
static uint64_t acted_on(const struct invalidator *invalidator)
{
	static const enum later lists[] = { LATER_ATTRIBUTES, LATER_FILE };
	uint64_t sequence = invalidator->told;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct notice *open = invalidator->later[lists[i]].first;

		if (open != NULL && open->sequence > 0 && open->sequence <= sequence)
			sequence = open->sequence - 1;
	}
	return sequence;
}

/* After the kernel was told. Takes the notice over. */
static void told(struct invalidator *invalidator, struct notice *notice)
{
	struct server *server = invalidator->client->server;
	uint64_t sequence;

	lock_take(&invalidator->lock);
	if (notice->sequence > invalidator->told)
		invalidator->told = notice->sequence;
	if (notice->later != LATERS) {
		put_off(invalidator, notice);
		notice = NULL;
	}
	sequence = acted_on(invalidator);
	lock_give(&invalidator->lock);
	free(notice);
	if (sequence > atomic_load(&server->acknowledged)) {
		atomic_store(&server->acknowledged, sequence);
		server_wake(server);
	}
}

/* Tells the kernel, and decides what it is told later. */
static void act(struct invalidator *invalidator, struct notice *notice)
{
	const struct client *client = invalidator->client;

	switch (notice->later) {
	case LATER_ATTRIBUTES:
		notice->later = LATERS;
		tell_object(invalidator, notice->sequence, notice->named, false);
		break;
	case LATER_FILE:
	case LATER_PAGES:
		if (tell_file(client, notice->node, (notice->what & PROTO_INVALIDATE_CONTENTS) != 0, notice->since,
		              &notice->later))
			notice->later = LATERS;
		break;
	case LATER_NAME:
	case LATER_NAME_AGAIN:
		tell_name(client, notice->directory, &notice->name, expire_flags(client));
		notice->later = notice->later == LATER_NAME ? LATER_NAME_AGAIN : LATERS;
		break;
	default:
		tell(invalidator, notice);
		if (notice->named_directory && (notice->what & PROTO_INVALIDATE_NAME) != 0)
			notice->later = LATER_NAME;
		else if (is_only_renamed(notice))
			notice->later = LATER_ATTRIBUTES;
	}
}

static void *run(void *argument)
{
	struct invalidator *invalidator = argument;
	struct notice *notice;

	while ((notice = next(invalidator)) != NULL) {
		act(invalidator, notice);
		told(invalidator, notice);
	}
	return NULL;
}

int invalidator_start(struct invalidator *invalidator)
{
	pthread_attr_t attributes;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	r = FAULT_NUMBER(MOUNT_THREAD, pthread_create(&invalidator->thread, &attributes, run, invalidator));
	pthread_attr_destroy(&attributes);
	invalidator->running = r == 0;
	return -r;
}

void invalidator_stop(struct invalidator *invalidator)
{
	lock_take(&invalidator->lock);
	invalidator->ending = true;
	pthread_cond_signal(&invalidator->wake);
	lock_give(&invalidator->lock);
	if (invalidator->running)
		(void) pthread_join(invalidator->thread, NULL);
	invalidator->running = false;
}

static void push(struct invalidator *invalidator, const struct notice *from)
{
	struct notice *notice = malloc(sizeof(*notice));

	if (notice != NULL)
		*notice = *from;
	lock_take(&invalidator->lock);
	/* Without memory, or when the server sends more than it may, the last one stands for all. */
	if ((notice == NULL || invalidator->notices.count >= NOTICES_MAX) && invalidator->notices.count > 0) {
		struct notice *first = invalidator->notices.first;

		first->what = PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS;
		first->later = LATERS;
		while (first->next != NULL) {
			struct notice *dropped = first->next;

			first->next = dropped->next;
			if (dropped->sequence != 0)
				first->sequence = dropped->sequence;
			free(dropped);
		}
		if (from->sequence != 0)
			first->sequence = from->sequence;
		invalidator->notices.last = &first->next;
		invalidator->notices.count = 1;
		free(notice);
	} else if (notice != NULL) {
		notice_list_append(&invalidator->notices, notice);
	}
	pthread_cond_signal(&invalidator->wake);
	lock_give(&invalidator->lock);
}

/* What this client knows of an object goes; contents: of its pages, too. */
static void drop_object(struct client *client, uint64_t node, bool contents)
{
	if (node == 0)
		return;
	held_changed(client->held, node);
	if (contents)
		objects_unsure(client->objects, node);
	else
		objects_changed(client->objects, node);
	recent_drop(client->recent, node);
	kept_drop(client->kept, node);
}

/* All that is in a directory, or what has or had this name in it. */
static void drop_directory(struct client *client, uint64_t directory, const char *name, bool contents)
{
	uint64_t *ids;
	size_t count;

	while (objects_children(client->objects, directory, name, &ids, &count) < 0)
		(void) usleep(MEMORY_US);
	for (size_t i = 0; i < count; i++)
		drop_object(client, ids[i], contents);
	free(ids);
}

static void take(struct invalidator *invalidator, const struct proto_invalidate_request *request)
{
	bool contents = (request->what & PROTO_INVALIDATE_CONTENTS) != 0;
	struct client *client = invalidator->client;
	struct notice notice = { .later = LATERS,
		                 .sequence = request->sequence,
		                 .what = request->what,
		                 .directory = request->directory,
		                 .node = request->node,
		                 .name = request->name };

	if ((request->what & PROTO_INVALIDATE_ALL) != 0) {
		held_changed_all(client->held);
		scan_drop(client, 0);
		drop_directory(client, 0, NULL, contents);
		drop_object(client, client->root, false);
		kept_drop_all(client->kept);
		push(invalidator, &notice);
		return;
	}
	/* Before anything else: from here on no answer that is on its way is kept. */
	drop_object(client, request->directory, false);
	if (request->directory != 0)
		scan_drop(client, request->directory);
	drop_object(client, request->node, contents && is_about_node(request->directory));
	if ((request->what & PROTO_INVALIDATE_DIRECTORY) != 0)
		drop_directory(client, request->directory, NULL, contents);
	if (request->name.length > 0) {
		notice.named = objects_named(client->objects, request->directory, request->name.text);
		notice.named_directory = notice.named != 0 && objects_is_directory(client->objects, notice.named);
		drop_object(client, notice.named, contents);
		if ((request->what & PROTO_INVALIDATE_NAME) != 0) {
			drop_directory(client, request->directory, request->name.text, false);
			/* A directory is looked up again, and is most often the same. */
			if (!notice.named_directory)
				objects_unname(client->objects, request->directory, request->name.text);
			(void) absent_remove(client->absent, request->directory, request->name.text);
		}
	}
	push(invalidator, &notice);
}

void invalidator_take(struct invalidator *invalidator, const struct proto_invalidate_request *request)
{
	proto_counter_add(&invalidator->client->server->counters.ops[PROTO_INVALIDATE].count, 1);
	take(invalidator, request);
}

void invalidator_drop_names(struct invalidator *invalidator, uint64_t directory, const struct proto_name *name)
{
	const struct proto_invalidate_request request = { .what = PROTO_INVALIDATE_NAME | PROTO_INVALIDATE_DIRECTORY,
		                                          .directory = directory,
		                                          .name = *name };

	take(invalidator, &request);
}

void invalidator_drop(struct invalidator *invalidator, uint64_t node)
{
	const struct proto_invalidate_request request = { .what = PROTO_INVALIDATE_CONTENTS, .node = node };

	take(invalidator, &request);
}

void invalidator_expire(struct invalidator *invalidator, uint64_t directory, const struct proto_name *name)
{
	const struct notice notice = {
		.later = LATER_NAME_AGAIN, .what = PROTO_INVALIDATE_NAME, .directory = directory, .name = *name
	};

	push(invalidator, &notice);
}
