/* SPDX-License-Identifier: Apache-2.0 */
/* Watches directories or files of the host: which there are, and what the events belong to. */
#include "fileserver/worker/leases/hostwatch.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* A random seed, so that a guest that chooses names and inode numbers cannot fill one bucket. */
static uint64_t hash_seed;
static pthread_once_t hash_seeded = PTHREAD_ONCE_INIT;
#define HASH_FUNCTION(key, length, result) ((result) = (unsigned) XXH3_64bits_withSeed((key), (length), hash_seed))
#include <uthash.h>

#include "fileserver/worker/leases/hostwatch-kinds.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "protocol/lock.h"
#include "protocol/number.h"

enum {
	MARKS_UNKNOWN = 8192,
	QUEUE_UNKNOWN = 16384,
	BUFFER_SIZE = 64 * 1024,
	EVENT_SIZE = 1024, /* more than the largest event has: two handles, a name, headers */
	NUMBER_MAX = INT_MAX / 2,
};

/* An object with a mark. */
struct watched {
	UT_hash_handle by_key, by_watch;
	uint64_t watch; /* the caller's id; 0: none, its events are dropped, and it is not in by_watch */
	bool dead;
	uint32_t length;
	unsigned char key[];
};

/* A mark that is being made or removed; on the stack of the thread that does. */
struct change {
	struct change *next;
	const struct hostwatch_key *key;
};

struct hostwatch {
	const struct hostwatch_way *way;
	int fd;
	uint32_t queue_max; /* events that the kernel queues */
	char *buffer;       /* the reader's */
	/* Guards what follows. Not held during system calls: they may wait for the host's file system. */
	struct lock lock;
	pthread_cond_t changed; /* a change, or flushing, has ended */
	struct watched *by_key, *by_watch;
	struct change *changes;
	bool flushing;
	uint32_t dead;
};

static void seed_hash(void)
{
	randombytes_buf(&hash_seed, sizeof(hash_seed));
}

static uint32_t number_of(const char *path, uint32_t otherwise)
{
	char line[32] = "";
	const char *end;
	uint64_t number;
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (file == NULL || fgets(line, sizeof(line), file) == NULL ||
	    number_begin(line, 10, NUMBER_MAX, &number, &end) < 0)
		return otherwise;
	return (uint32_t) number;
}

static const struct hostwatch_way *way_of(enum hostwatch_kind kind)
{
	static const struct hostwatch_way *const ways[] = {
		[HOSTWATCH_FANOTIFY] = &hostwatch_fanotify,
		[HOSTWATCH_INOTIFY] = &hostwatch_inotify,
		[HOSTWATCH_FANOTIFY_FILES] = &hostwatch_fanotify_files,
		[HOSTWATCH_INOTIFY_FILES] = &hostwatch_inotify_files,
	};

	return ways[kind];
}

uint32_t hostwatch_limit(enum hostwatch_kind kind)
{
	return number_of(way_of(kind)->limit_path, MARKS_UNKNOWN);
}

int hostwatch_new(enum hostwatch_kind kind, struct hostwatch **ret_hostwatch)
{
	struct hostwatch *hostwatch = FAULT_NULL(WORKER_WATCH, calloc(1, sizeof(*hostwatch)));

	if (hostwatch == NULL)
		return -ENOMEM;
	(void) pthread_once(&hash_seeded, seed_hash);
	hostwatch->way = way_of(kind);
	hostwatch->queue_max = number_of(hostwatch->way->queue_path, QUEUE_UNKNOWN);
	lock_init(&hostwatch->lock);
	pthread_cond_init(&hostwatch->changed, NULL);
	hostwatch->buffer = FAULT_NULL(WORKER_WATCH, malloc(BUFFER_SIZE));
	hostwatch->fd = hostwatch->buffer == NULL ? -ENOMEM : hostwatch->way->open();
	if (hostwatch->fd < 0) {
		int r = hostwatch->fd;

		hostwatch_free(hostwatch);
		return r;
	}
	*ret_hostwatch = hostwatch;
	return 0;
}

static void set_dead(struct hostwatch *hostwatch, struct watched *watched, bool dead) LOCK_HELD(hostwatch->lock);
static void give_id(struct hostwatch *hostwatch, struct watched *watched, uint64_t watch) LOCK_HELD(hostwatch->lock);
static void forget(struct hostwatch *hostwatch, struct watched *watched) LOCK_HELD(hostwatch->lock);
static struct watched *find_key(const struct hostwatch *hostwatch, const struct hostwatch_key *key)
        LOCK_HELD(hostwatch->lock);
static struct watched *find_watch(const struct hostwatch *hostwatch, uint64_t watch) LOCK_HELD(hostwatch->lock);
static bool changing(const struct hostwatch *hostwatch, const struct hostwatch_key *key) LOCK_HELD(hostwatch->lock);
static void change_begin(struct hostwatch *hostwatch, struct change *change) LOCK_HELD(hostwatch->lock);
static void change_end(struct hostwatch *hostwatch, struct change *change) LOCK_HELD(hostwatch->lock);
static void adopt(struct hostwatch *hostwatch, const struct hostwatch_key *key, uint64_t watch, struct watched *fresh)
        LOCK_HELD(hostwatch->lock);
static struct watched *find_settled(struct hostwatch *hostwatch, uint64_t watch, struct hostwatch_key *ret_key)
        LOCK_HELD(hostwatch->lock);
static void bury(struct hostwatch *hostwatch, const struct hostwatch_key *key, int result) LOCK_HELD(hostwatch->lock);

static void set_dead(struct hostwatch *hostwatch, struct watched *watched, bool dead)
{
	hostwatch->dead += (uint32_t) dead - (uint32_t) watched->dead;
	watched->dead = dead;
}

/* watch: 0 takes the id away. */
static void give_id(struct hostwatch *hostwatch, struct watched *watched, uint64_t watch)
{
	if (watched->watch == watch)
		return;
	if (watched->watch != 0)
		HASH_DELETE(by_watch, hostwatch->by_watch, watched);
	watched->watch = watch;
	if (watch != 0)
		HASH_ADD(by_watch, hostwatch->by_watch, watch, sizeof(watched->watch), watched);
}

static void forget(struct hostwatch *hostwatch, struct watched *watched)
{
	give_id(hostwatch, watched, 0);
	set_dead(hostwatch, watched, false);
	HASH_DELETE(by_key, hostwatch->by_key, watched);
	free(watched);
}

static struct watched *find_key(const struct hostwatch *hostwatch, const struct hostwatch_key *key)
{
	struct watched *watched;

	HASH_FIND(by_key, hostwatch->by_key, key->bytes, key->length, watched);
	return watched;
}

static struct watched *find_watch(const struct hostwatch *hostwatch, uint64_t watch)
{
	struct watched *watched;

	HASH_FIND(by_watch, hostwatch->by_watch, &watch, sizeof(watch), watched);
	return watched;
}

/* Changes of one mark are made one after another: the last one that was begun is what holds. */
static bool changing(const struct hostwatch *hostwatch, const struct hostwatch_key *key)
{
	for (const struct change *other = hostwatch->changes; other != NULL; other = other->next)
		/* Otherwise the key is not known before the mark is made, and only one is made at a time. */
		if (!hostwatch->way->by_object ||
		    (other->key->length == key->length && memcmp(other->key->bytes, key->bytes, key->length) == 0))
			return true;
	return hostwatch->flushing;
}

static void change_begin(struct hostwatch *hostwatch, struct change *change)
{
	change->next = hostwatch->changes;
	hostwatch->changes = change;
}

static void change_end(struct hostwatch *hostwatch, struct change *change)
{
	struct change **link = &hostwatch->changes;

	while (*link != change)
		link = &(*link)->next;
	*link = change->next;
	pthread_cond_broadcast(&hostwatch->changed);
}

/* The object of key has a mark and this id now. fresh: memory for it, freed when it was known before. */
static void adopt(struct hostwatch *hostwatch, const struct hostwatch_key *key, uint64_t watch, struct watched *fresh)
{
	struct watched *watched = find_key(hostwatch, key), *other = find_watch(hostwatch, watch);

	if (watched != NULL) {
		free(fresh);
	} else {
		watched = fresh;
		memcpy(watched->key, key->bytes, key->length);
		watched->length = key->length;
		HASH_ADD_KEYPTR(by_key, hostwatch->by_key, watched->key, key->length, watched);
	}
	if (other != NULL && other != watched) {
		give_id(hostwatch, other, 0);
		set_dead(hostwatch, other, true);
	}
	give_id(hostwatch, watched, watch);
	set_dead(hostwatch, watched, false);
}

int hostwatch_add(struct hostwatch *hostwatch, int object, uint64_t watch)
{
	struct hostwatch_key key = { .length = HOSTWATCH_NUMBER_SIZE };
	struct change change = { .key = &key };
	struct watched *fresh;
	int r = hostwatch->way->find != NULL ? hostwatch->way->find(object, &key) : 0;

	if (r < 0)
		return r;
	fresh = FAULT_NULL(WORKER_WATCH, calloc(1, sizeof(*fresh) + key.length));
	if (fresh == NULL)
		return -ENOMEM;
	lock_take(&hostwatch->lock);
	while (changing(hostwatch, &key))
		lock_wait(&hostwatch->lock, &hostwatch->changed);
	change_begin(hostwatch, &change);
	lock_give(&hostwatch->lock);
	/* Events that are read before the id is known are of changes before this function returns. */
	r = hostwatch->way->mark(hostwatch->fd, object, &key);
	lock_take(&hostwatch->lock);
	if (r < 0)
		free(fresh);
	else
		adopt(hostwatch, &key, watch, fresh);
	change_end(hostwatch, &change);
	lock_give(&hostwatch->lock);
	return r;
}

static struct watched *find_settled(struct hostwatch *hostwatch, uint64_t watch, struct hostwatch_key *ret_key)
{
	struct watched *watched;

	while ((watched = find_watch(hostwatch, watch)) != NULL) {
		ret_key->length = watched->length;
		memcpy(ret_key->bytes, watched->key, watched->length);
		if (!changing(hostwatch, ret_key))
			break;
		lock_wait(&hostwatch->lock, &hostwatch->changed);
	}
	return watched;
}

/* What is left of a mark after trying to remove it, with this result. */
static void bury(struct hostwatch *hostwatch, const struct hostwatch_key *key, int result)
{
	struct watched *watched = find_key(hostwatch, key);

	if (watched == NULL)
		return;
	if (result == 0 || result == -ENOENT)
		forget(hostwatch, watched);
	else
		set_dead(hostwatch, watched, true);
}

void hostwatch_remove(struct hostwatch *hostwatch, uint64_t watch, int object)
{
	struct hostwatch_key key;
	struct change change = { .key = &key };
	struct watched *watched;

	lock_take(&hostwatch->lock);
	watched = find_settled(hostwatch, watch, &key);
	if (watched == NULL) {
		lock_give(&hostwatch->lock);
		return;
	}
	give_id(hostwatch, watched, 0);
	if (hostwatch->way->by_object && object < 0) {
		set_dead(hostwatch, watched, true);
	} else {
		int r;

		change_begin(hostwatch, &change);
		lock_give(&hostwatch->lock);
		r = hostwatch->way->unmark(hostwatch->fd, object, &key);
		lock_take(&hostwatch->lock);
		bury(hostwatch, &key, r);
		change_end(hostwatch, &change);
	}
	lock_give(&hostwatch->lock);
}

uint32_t hostwatch_dead(struct hostwatch *hostwatch)
{
	uint32_t dead;

	lock_take(&hostwatch->lock);
	dead = hostwatch->dead;
	lock_give(&hostwatch->lock);
	return dead;
}

/* Forgets all, and where the kernel does not do that at once, removes each mark. */
static int drop(struct hostwatch *hostwatch, struct watched *all)
{
	struct watched *watched, *next;
	struct hostwatch_key key;
	int r = hostwatch->way->flush != NULL ? hostwatch->way->flush(hostwatch->fd) : 0;

	HASH_ITER (by_key, all, watched, next) {
		if (hostwatch->way->flush == NULL) {
			key.length = watched->length;
			memcpy(key.bytes, watched->key, watched->length);
			(void) hostwatch->way->unmark(hostwatch->fd, -EBADF, &key);
		}
		HASH_DELETE(by_key, all, watched);
		free(watched);
	}
	return r;
}

int hostwatch_flush(struct hostwatch *hostwatch)
{
	struct watched *all;
	int r;

	lock_take(&hostwatch->lock);
	while (hostwatch->changes != NULL || hostwatch->flushing)
		lock_wait(&hostwatch->lock, &hostwatch->changed);
	hostwatch->flushing = true;
	all = hostwatch->by_key;
	HASH_CLEAR(by_watch, hostwatch->by_watch);
	hostwatch->by_key = NULL;
	hostwatch->dead = 0;
	lock_give(&hostwatch->lock);
	r = drop(hostwatch, all);
	lock_take(&hostwatch->lock);
	hostwatch->flushing = false;
	pthread_cond_broadcast(&hostwatch->changed);
	lock_give(&hostwatch->lock);
	return r;
}

void hostwatch_free(struct hostwatch *hostwatch)
{
	struct watched *watched, *next;

	if (hostwatch == NULL)
		return;
	/* Its marks go with it. */
	(void) close_fd(hostwatch->fd);
	HASH_CLEAR(by_watch, hostwatch->by_watch);
	HASH_ITER (by_key, hostwatch->by_key, watched, next) {
		HASH_DELETE(by_key, hostwatch->by_key, watched);
		free(watched);
	}
	pthread_cond_destroy(&hostwatch->changed);
	lock_done(&hostwatch->lock);
	free(hostwatch->buffer);
	free(hostwatch);
}

int hostwatch_fd(const struct hostwatch *hostwatch)
{
	return hostwatch->fd;
}

/* The id of the watch that the event belongs to, 0 for none; what is gone has no watch any more. */
static uint64_t watch_of(struct hostwatch *hostwatch, const struct hostwatch_told *told)
{
	struct watched *watched;
	uint64_t watch = 0;

	lock_take(&hostwatch->lock);
	watched = find_key(hostwatch, &told->key);
	if (watched != NULL) {
		watch = watched->watch;
		if ((told->what & HOSTWATCH_GONE) != 0)
			forget(hostwatch, watched);
	}
	lock_give(&hostwatch->lock);
	return watch;
}

static void give(struct hostwatch *hostwatch, const struct hostwatch_told *told, hostwatch_take *take, void *context)
{
	struct hostwatch_event event = {
		.watch = told->key.length == 0 ? 0 : watch_of(hostwatch, told),
		.what = told->what,
		.own = told->own,
		.directory = told->directory,
		.name = told->name,
	};

	if (event.what != 0 && (event.watch != 0 || (event.what & HOSTWATCH_OVERFLOW) != 0))
		take(context, &event);
}

int hostwatch_read(struct hostwatch *hostwatch, hostwatch_take *take, void *context)
{
	uint32_t count = 0;

	/* More than a queue holds and the event that it overflowed were not queued at the start. */
	while (count <= hostwatch->queue_max) {
		ssize_t n = FAULT(WORKER_WATCH_READ, read(hostwatch->fd, hostwatch->buffer, BUFFER_SIZE));
		struct hostwatch_told told;
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n <= 0)
			break;
		for (size_t done = 0; done < (size_t) n; done += (size_t) r) {
			r = hostwatch->way->parse(hostwatch->buffer + done, (size_t) n - done, &told);
			if (r < 0)
				return r;
			give(hostwatch, &told, take, context);
			count++;
		}
		/* One more event would have fitted: the queue was empty. */
		if ((size_t) n <= BUFFER_SIZE - EVENT_SIZE)
			break;
	}
	return (int) count;
}
