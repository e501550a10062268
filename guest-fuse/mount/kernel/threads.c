/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a mount: as many as there are requests at once, up to a limit. */
#include "guest-fuse/mount/kernel/threads.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/kernel/uring.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/lock.h"
#include "protocol/log.h"

enum {
	FIRST = 2,   /* threads that are started with the mount */
	READERS = 1, /* that wait at a source at a time */
	STACK = 256 * 1024,
	RETRY_NS = 1000000000,
	HELD_NS = 1000000, /* the longest that a message without a reply waits for another one to go with */
	CROWD = 4,         /* so many requests in a row that had to wait: there are too few threads */
	CROWD_THREADS = 8, /* with so many threads at work a crowd starts no more; at /dev/fuse with half of the CPUs */
};

/* Where the kernel's requests come from: /dev/fuse, and each ring. */
struct source {
	_Atomic int idle;        /* threads that wait for the kernel, or are about to */
	_Atomic uint32_t asker;  /* thread of the guest whose request was the last that waited */
	_Atomic unsigned waited; /* how many requests in a row had to wait */
	_Atomic bool saturated;  /* nobody waits for the kernel, and nobody is about to */
	bool wanted;             /* with the lock: a parked or new thread is to read here */
};

struct threads {
	struct client *client;
	void (*serve)(struct thread *thread);
	unsigned max;
	unsigned places; /* threads at work, so many that none of those who ask loses its CPU to them */
	struct thread *all[THREADS_MAX];
	unsigned count;           /* of all; grows only */
	_Atomic unsigned working; /* threads that have a request */
	_Atomic bool ending;      /* unmounted: the threads leave */

	struct source sources[1 + URING_RINGS_MAX]; /* the first is /dev/fuse */
	_Atomic unsigned sources_count;
	struct uring *uring; /* NULL: /dev/fuse has everything */

	struct lock lock;
	unsigned parked; /* threads that sleep until a source is wanted, or were woken for it and do not run yet */
	struct sleepers sleepers; /* those of them that were not woken */
	bool starting;
	int64_t retry_at; /* clock_ns(): no other thread is started before */
	pthread_t handles[THREADS_MAX];
	unsigned started;
};

static_assert((int) THREADS_MAX <= (int) PENDING_MAX, "each thread's request has its place there");

struct threads *threads_new(struct client *client, void (*serve)(struct thread *thread))
{
	struct threads *threads = calloc(1, sizeof(*threads));

	if (threads == NULL)
		return NULL;
	threads->client = client;
	threads->serve = serve;
	threads->places = proto_spin_places();
	atomic_store(&threads->sources_count, 1);
	lock_init(&threads->lock);
	return threads;
}

void threads_limit(struct threads *threads, unsigned max)
{
	threads->max = max < THREADS_MAX ? max : THREADS_MAX;
}

void threads_free(struct threads *threads)
{
	if (threads == NULL)
		return;
	for (unsigned i = 0; i < threads->count; i++)
		thread_free(threads->all[i]);
	uring_free(threads->uring);
	lock_done(&threads->lock);
	free(threads);
}

/* The number of the ring that is this source. */
static unsigned ring_of(const struct threads *threads, const struct source *source)
{
	return (unsigned) (source - threads->sources) - 1;
}

static bool is_device(const struct threads *threads, const struct source *source)
{
	return source == threads->sources;
}

/* This thread will read requests. Returns how many others do. */
static int note_reader(struct source *source)
{
	if (atomic_load_explicit(&source->saturated, memory_order_relaxed))
		atomic_store(&source->saturated, false);
	return atomic_fetch_add(&source->idle, 1);
}

static struct source *take_wanted(struct threads *threads) LOCK_HELD(threads->lock);
/* A source that a thread is to read, from now on this one; or NULL. */
static struct source *take_wanted(struct threads *threads)
{
	for (unsigned i = 0; i < atomic_load(&threads->sources_count); i++)
		if (threads->sources[i].wanted) {
			threads->sources[i].wanted = false;
			return &threads->sources[i];
		}
	return NULL;
}

/* Requests of a ring's CPUs are handled there; a thread that goes from one source to another goes to its CPUs. */
static void change_source(struct thread *thread, struct source *source)
{
	struct threads *threads = thread->client->threads;

	if (source == thread->source)
		return;
	thread->source = source;
	if (is_device(threads, source))
		uring_unpin(threads->uring);
	else
		uring_pin(threads->uring, ring_of(threads, source));
}

static struct source *sleep_until_wanted(struct threads *threads, struct thread *thread) LOCK_HELD(threads->lock);
/* Returns the source to read, or NULL: the threads are to end. */
static struct source *sleep_until_wanted(struct threads *threads, struct thread *thread)
{
	struct source *source;

	threads->parked++;
	while ((source = take_wanted(threads)) == NULL && !atomic_load(&threads->ending))
		sleepers_wait(&threads->sleepers, &thread->sleeper, &threads->lock);
	threads->parked--;
	return source;
}

/* Called before a thread waits for the kernel: parks it when enough others do. */
static void take_place(struct thread *thread)
{
	struct threads *threads = thread->client->threads;
	struct source *source = NULL;

	if (note_reader(thread->source) < READERS)
		return;
	lock_take(&threads->lock);
	if (atomic_load(&thread->source->idle) > READERS && !atomic_load(&threads->ending)) {
		atomic_fetch_sub(&thread->source->idle, 1);
		source = sleep_until_wanted(threads, thread);
		if (source == NULL)
			source = thread->source;
		(void) note_reader(source);
	}
	lock_give(&threads->lock);
	if (source != NULL)
		change_source(thread, source);
}

bool threads_are_reading(const struct threads *threads)
{
	const struct thread *thread = thread_current();
	/* A thread that is not one of these, or not yet, reads nowhere. */
	const struct source *source = thread != NULL && thread->source != NULL ? thread->source : threads->sources;

	return atomic_load_explicit(&source->idle, memory_order_relaxed) > 0;
}

unsigned threads_others(const struct threads *threads)
{
	return atomic_load_explicit(&threads->working, memory_order_relaxed) - 1;
}

bool threads_are_saturated(const struct threads *threads)
{
	for (unsigned i = 0; i < atomic_load(&threads->sources_count); i++)
		if (atomic_load(&threads->sources[i].saturated))
			return true;
	return false;
}

bool threads_are_ending(const struct threads *threads)
{
	return atomic_load(&threads->ending);
}

bool threads_are_there(struct threads *threads)
{
	bool there;

	lock_take(&threads->lock);
	there = threads->started > 0;
	lock_give(&threads->lock);
	return there;
}

static int start_thread(struct threads *threads, struct thread *thread) LOCK_HELD(threads->lock);

static unsigned want_readers(struct threads *threads) LOCK_HELD(threads->lock);
/* Wants a reader for each source that has none. Returns how many sources there are now that are wanted. */
static unsigned want_readers(struct threads *threads)
{
	unsigned wanted = 0;

	for (unsigned i = 0; i < atomic_load(&threads->sources_count); i++) {
		struct source *source = &threads->sources[i];

		if (atomic_load(&source->idle) > 0) {
			source->wanted = false;
			continue;
		}
		if (!source->wanted)
			sleepers_wake(&threads->sleepers);
		source->wanted = true;
		wanted++;
	}
	return wanted;
}

/* Nobody reads these, and there is no further thread, or it still waits for the server to accept it. */
static void note_saturated(struct threads *threads)
{
	bool anew = false;

	for (unsigned i = 0; i < atomic_load(&threads->sources_count); i++)
		if (atomic_load(&threads->sources[i].idle) == 0)
			anew = !atomic_exchange(&threads->sources[i].saturated, true) || anew;
	/* Nobody may be reading INTERRUPTs now: the keeper looks for processes that are to die. */
	if (anew)
		server_wake(threads->client->server);
}

void threads_grow(struct threads *threads)
{
	bool alone = false;
	int r = 0;

	lock_take(&threads->lock);
	/* A thread that was woken and does not run yet, which is still counted as parked, will read. */
	if (!atomic_load(&threads->ending) && want_readers(threads) > threads->parked) {
		alone = true;
		if (!threads->starting && threads->started < threads->max && clock_ns() >= threads->retry_at &&
		    atomic_load(&threads->client->server->dead) == 0)
			r = start_thread(threads, NULL);
		if (r < 0)
			threads->retry_at = clock_ns() + RETRY_NS;
	}
	lock_give(&threads->lock);
	if (alone)
		note_saturated(threads);
	if (r < 0)
		log_peer_warning("cannot start another thread: %s", strerror(-r));
}

/* From /dev/fuse; does not wait. 1: a request lies in the thread's buffer; 0: there is none; -1: the mount is gone. */
static int read_device(struct thread *thread)
{
	struct threads *threads = thread->client->threads;
	ssize_t n;

	do
		n = FAULT(MOUNT_FUSE_READ, read(thread->device, thread->request.buffer, REQUEST_BUFFER_SIZE));
	while (n < 0 && (errno == EINTR || errno == ENOENT)); /* ENOENT: the request was taken back */
	if (n >= (ssize_t) sizeof(struct fuse_in_header)) {
		thread->request.size = (size_t) n;
		return 1;
	}
	if (n >= 0 || errno == EAGAIN)
		return 0;
	if (errno != ENODEV && errno != ECONNABORTED)
		log_error("reading from /dev/fuse: %s", strerror(errno));
	threads_end(threads);
	return -1;
}

/* The same from the thread's source. */
static int read_request(struct thread *thread)
{
	struct threads *threads = thread->client->threads;
	int r;

	thread->request.entry = NULL;
	if (is_device(threads, thread->source))
		return read_device(thread);
	r = uring_take(threads->uring, ring_of(threads, thread->source), &thread->request);
	if (r < 0)
		threads_end(threads);
	return r;
}

/*
 * found: a request had come before the thread looked. True: so many in a row had, that more threads should read. A
 * process that works alone can be that quick, so only a request of another process than the last one counts; RELEASE
 * has no process.
 */
static bool is_crowd(struct thread *thread, bool found)
{
	struct threads *threads = thread->client->threads;
	struct source *source = thread->source;
	uint32_t asker = found ? request_header(&thread->request)->pid : 0;
	unsigned row = 0;

	if (found && asker == 0)
		return false;
	if (atomic_exchange_explicit(&source->asker, asker, memory_order_relaxed) != asker && found)
		row = atomic_load_explicit(&source->waited, memory_order_relaxed) + 1;
	atomic_store_explicit(&source->waited, row < CROWD ? row : 0, memory_order_relaxed);
	/* Several that take turns on few CPUs wake each other more than they do; in time a slow reply starts more. */
	if (is_device(threads, source) && atomic_load(&threads->working) + 1 >= threads->places)
		return false;
	return row >= CROWD && atomic_load(&threads->working) < CROWD_THREADS;
}

/* Looks for a request for a while (spin.h). Returns as read_request(). */
static int look_for_request(struct thread *thread)
{
	struct threads *threads = thread->client->threads;
	unsigned others = atomic_load(&threads->working) + (unsigned) atomic_load(&thread->source->idle);
	int r = 0;

	/* A ring's thread is woken on the CPU of who asks, which costs little, and would only be in the way there. */
	if (atomic_load(&threads->sources_count) > 1 || !proto_spin_begin(&thread->spin, others))
		return 0;
	note_reader(thread->source);
	do
		r = read_request(thread);
	while (r == 0 && proto_spin_again(&thread->spin));
	atomic_fetch_sub(&thread->source->idle, 1);
	proto_spin_end(&thread->spin, r > 0);
	return r;
}

/* Looks for a request, then sleeps until there is one. Returns as read_request(). */
static int wait_for_request(struct thread *thread)
{
	struct pollfd wait = { .fd = thread->device, .events = POLLIN };
	struct threads *threads = thread->client->threads;
	int r = look_for_request(thread);

	if (r != 0)
		return r;
	connection_flush(&thread->connection, 0);
	take_place(thread);
	while ((r = read_request(thread)) == 0 && !atomic_load(&threads->ending))
		if (is_device(threads, thread->source))
			(void) poll(&wait, 1, -1);
		else
			uring_wait(threads->uring, ring_of(threads, thread->source));
	atomic_fetch_sub(&thread->source->idle, 1);
	return r;
}

static void serve(struct thread *thread)
{
	struct threads *threads = thread->client->threads;

	while (!atomic_load(&threads->ending)) {
		int r = read_request(thread);

		connection_flush(&thread->connection, HELD_NS);
		if (is_crowd(thread, r > 0))
			threads_grow(threads);
		if (r == 0)
			r = wait_for_request(thread);
		if (r <= 0)
			continue;
		atomic_fetch_add(&threads->working, 1);
		threads->serve(thread);
		atomic_fetch_sub(&threads->working, 1);
	}
}

/* With the lock held, or before there are others. */
static void add(struct threads *threads, struct thread *thread)
{
	thread->source = threads->sources;
	threads->all[threads->count++] = thread;
	pending_add(threads->client->pending, &thread->request);
}

/* A further one, which connects itself so that nobody waits for it. */
static struct thread *join_session(struct threads *threads)
{
	struct thread *thread = NULL;
	unsigned others;
	int r = thread_new(threads->client, &thread);

	if (r == 0)
		r = connection_attach(&thread->connection);
	lock_take(&threads->lock);
	threads->starting = false;
	others = threads->count;
	if (r == 0) {
		add(threads, thread);
	} else {
		/* No thread was started meanwhile: its place is the last one, and free again. */
		threads->retry_at = clock_ns() + RETRY_NS;
		threads->started--;
		(void) pthread_detach(pthread_self());
	}
	/* Nobody waits for a detached thread: from here on threads may be gone. */
	lock_give(&threads->lock);
	if (r == 0)
		return thread;
	thread_free(thread);
	log_peer_warning("no further lane (%s): going on with %u", strerror(-r), others);
	return NULL;
}

static void *run_first(void *argument)
{
	thread_set_current(argument);
	serve(argument);
	return NULL;
}

static void *run_further(void *argument)
{
	struct threads *threads = argument;
	struct thread *thread = join_session(threads);

	if (thread == NULL)
		return NULL;
	thread_set_current(thread);
	serve(thread);
	return NULL;
}

/* thread: connected; or NULL, and the new thread makes its own. */
static int start_thread(struct threads *threads, struct thread *thread)
{
	pthread_attr_t attributes;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	r = FAULT_NUMBER(MOUNT_THREAD, pthread_create(&threads->handles[threads->started], &attributes,
	                                              thread != NULL ? run_first : run_further,
	                                              thread != NULL ? (void *) thread : (void *) threads));
	pthread_attr_destroy(&attributes);
	if (r == 0) {
		threads->started++;
		threads->starting = threads->starting || thread == NULL;
	}
	return -r;
}

/* Connects one to the server. */
static int connect_thread(struct threads *threads)
{
	struct thread *thread = NULL;
	int r = thread_new(threads->client, &thread);

	if (r == 0)
		r = connection_attach(&thread->connection);
	if (r < 0) {
		thread_free(thread);
		return r;
	}
	lock_take(&threads->lock);
	add(threads, thread);
	lock_give(&threads->lock);
	return 0;
}

int threads_start(struct threads *threads)
{
	unsigned first = threads->max < FIRST ? threads->max : FIRST;
	int r = 0;

	for (unsigned i = 0; i < first && r == 0; i++)
		r = connect_thread(threads);
	if (r < 0)
		return r;
	/* With the lock held throughout: a thread that starts another one relies on having the last place itself. */
	lock_take(&threads->lock);
	for (unsigned i = 0; i < first && r == 0; i++)
		r = start_thread(threads, threads->all[i]);
	lock_give(&threads->lock);
	return r;
}

bool threads_make_uring(struct threads *threads)
{
	unsigned rings = uring_wanted(threads->max);
	int r = rings == 0 ? -ENOSPC : uring_new(threads->client->device, rings, threads->max, &threads->uring);

	/* One that reads /dev/fuse, and one for each ring. Nobody else starts threads before the first request. */
	while (r == 0 && threads->count < 1 + rings)
		r = connect_thread(threads);
	if (r < 0) {
		log_debug("no FUSE over io_uring: %s", strerror(-r));
		uring_free(threads->uring);
		threads->uring = NULL;
	}
	return r == 0;
}

int threads_use_uring(struct threads *threads)
{
	unsigned rings = uring_rings(threads->uring);
	int r = uring_register(threads->uring);

	lock_take(&threads->lock);
	atomic_store(&threads->sources_count, 1 + rings);
	for (unsigned i = 0; i < rings; i++)
		threads->sources[1 + i].wanted = true;
	while (r == 0 && threads->started < threads->count)
		r = start_thread(threads, threads->all[threads->started]);
	sleepers_wake_all(&threads->sleepers);
	lock_give(&threads->lock);
	if (r < 0) {
		log_error("FUSE over io_uring does not start: %s; the option io_uring=no does without", strerror(-r));
		threads_end(threads);
	}
	return r;
}

bool threads_have_uring(const struct threads *threads)
{
	return atomic_load(&threads->sources_count) > 1;
}

void threads_give_up(struct threads *threads, bool (*dies)(pid_t pid))
{
	for (unsigned i = 1; i < atomic_load(&threads->sources_count); i++)
		uring_give_up(threads->uring, i - 1, &threads->sources[i].idle, dies);
}

void threads_end(struct threads *threads)
{
	lock_take(&threads->lock);
	atomic_store(&threads->ending, true);
	sleepers_wake_all(&threads->sleepers);
	lock_give(&threads->lock);
	if (threads_have_uring(threads))
		uring_wake(threads->uring);
	server_wake(threads->client->server);
}

void threads_join(struct threads *threads)
{
	for (;;) {
		pthread_t thread;

		lock_take(&threads->lock);
		if (threads->starting) { /* that one will add itself or give its place back */
			lock_give(&threads->lock);
			(void) usleep(1000);
			continue;
		}
		if (threads->started == 0) {
			lock_give(&threads->lock);
			return;
		}
		thread = threads->handles[--threads->started];
		lock_give(&threads->lock);
		(void) pthread_join(thread, NULL);
	}
}
