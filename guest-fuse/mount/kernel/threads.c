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
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum {
	FIRST = 2,   /* threads that are started with the mount */
	READERS = 1, /* that wait for the kernel at a time */
	STACK = 256 * 1024,
	RETRY_NS = 1000000000,
	HELD_NS = 1000000, /* the longest that a message without a reply waits for another one to go with */
	CROWD = 4,         /* so many requests in a row that had to wait: there are too few threads */
	CROWD_THREADS = 8, /* with so many threads at work a crowd starts no more */
};

struct threads {
	struct client *client;
	void (*serve)(struct thread *thread);
	unsigned max;
	struct thread *all[THREADS_MAX];
	unsigned count;           /* of all; grows only */
	_Atomic int idle;         /* threads that wait for the kernel, or are about to */
	_Atomic unsigned working; /* threads that have a request */
	_Atomic uint32_t asker;   /* thread of the guest whose request was the last that waited */
	_Atomic unsigned waited;  /* how many requests in a row had to wait */
	_Atomic bool ending;      /* unmounted: the threads leave */
	_Atomic bool saturated;   /* nobody waits for the kernel, and nobody is about to */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned parked, wakes; /* threads that sleep; how many of them are to go on */
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
	pthread_mutex_init(&threads->lock, NULL);
	pthread_cond_init(&threads->wake, NULL);
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
	pthread_cond_destroy(&threads->wake);
	pthread_mutex_destroy(&threads->lock);
	free(threads);
}

/* This thread will read requests. Returns how many others do. */
static int note_reader(struct threads *threads)
{
	if (atomic_load_explicit(&threads->saturated, memory_order_relaxed))
		atomic_store(&threads->saturated, false);
	return atomic_fetch_add(&threads->idle, 1);
}

/* Called before a thread waits for the kernel: parks it when enough others do. */
static void take_place(struct threads *threads)
{
	if (note_reader(threads) < READERS)
		return;
	pthread_mutex_lock(&threads->lock);
	if (atomic_load(&threads->idle) > READERS && !atomic_load(&threads->ending)) {
		atomic_fetch_sub(&threads->idle, 1);
		threads->parked++;
		while (threads->wakes == 0 && !atomic_load(&threads->ending))
			pthread_cond_wait(&threads->wake, &threads->lock);
		threads->parked--;
		if (threads->wakes > 0)
			threads->wakes--;
		atomic_fetch_add(&threads->idle, 1);
	}
	pthread_mutex_unlock(&threads->lock);
}

bool threads_are_reading(const struct threads *threads)
{
	return atomic_load_explicit(&threads->idle, memory_order_relaxed) > 0;
}

unsigned threads_others(const struct threads *threads)
{
	return atomic_load_explicit(&threads->working, memory_order_relaxed) - 1;
}

bool threads_are_saturated(const struct threads *threads)
{
	return atomic_load(&threads->saturated);
}

bool threads_are_ending(const struct threads *threads)
{
	return atomic_load(&threads->ending);
}

bool threads_are_there(struct threads *threads)
{
	bool there;

	pthread_mutex_lock(&threads->lock);
	there = threads->started > 0;
	pthread_mutex_unlock(&threads->lock);
	return there;
}

static int start_thread(struct threads *threads, struct thread *thread);

void threads_grow(struct threads *threads)
{
	bool alone = false;
	int r = 0;

	pthread_mutex_lock(&threads->lock);
	/* A thread that was woken and does not run yet will read, or wake the next one. */
	if (atomic_load(&threads->idle) == 0 && threads->wakes == 0 && !atomic_load(&threads->ending)) {
		if (threads->parked > 0) {
			threads->wakes++;
			pthread_cond_signal(&threads->wake);
		} else {
			alone = true;
			if (!threads->starting && threads->started < threads->max && clock_ns() >= threads->retry_at &&
			    atomic_load(&threads->client->server->dead) == 0)
				r = start_thread(threads, NULL);
			if (r < 0)
				threads->retry_at = clock_ns() + RETRY_NS;
		}
	}
	pthread_mutex_unlock(&threads->lock);
	/*
	 * Nobody reads INTERRUPTs now, since there can be no more threads or the next one still waits for the server to
	 * accept it: the keeper looks for processes that are to die.
	 */
	if (alone && !atomic_exchange(&threads->saturated, true))
		server_wake(threads->client->server);
	if (r < 0)
		log_peer_warning("cannot start another thread: %s", strerror(-r));
}

/* Does not wait. 1: a request lies in the thread's buffer; 0: there is none; -1: the mount is gone. */
static int read_request(struct thread *thread)
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

/*
 * found: a request had come before the thread looked. True: so many in a row had, that more threads should read. A
 * process that works alone can be that quick, so only a request of another process than the last one counts; RELEASE
 * has no process.
 */
static bool is_crowd(struct thread *thread, bool found)
{
	struct threads *threads = thread->client->threads;
	uint32_t asker = found ? request_header(&thread->request)->pid : 0;
	unsigned row = 0;

	if (found && asker == 0)
		return false;
	if (atomic_exchange_explicit(&threads->asker, asker, memory_order_relaxed) != asker && found)
		row = atomic_load_explicit(&threads->waited, memory_order_relaxed) + 1;
	atomic_store_explicit(&threads->waited, row < CROWD ? row : 0, memory_order_relaxed);
	return row >= CROWD && atomic_load(&threads->working) < CROWD_THREADS;
}

/* Looks for a request for a while (spin.h), then sleeps until there is one. Returns as read_request(). */
static int wait_for_request(struct thread *thread)
{
	struct pollfd wait = { .fd = thread->device, .events = POLLIN };
	struct threads *threads = thread->client->threads;
	int r = 0;

	if (proto_spin_begin(&thread->spin, atomic_load(&threads->working) + (unsigned) atomic_load(&threads->idle))) {
		note_reader(threads);
		do
			r = read_request(thread);
		while (r == 0 && proto_spin_again(&thread->spin));
		atomic_fetch_sub(&threads->idle, 1);
		proto_spin_end(&thread->spin, r > 0);
	}
	if (r != 0)
		return r;
	connection_flush(&thread->connection, 0);
	take_place(threads);
	while ((r = read_request(thread)) == 0 && !atomic_load(&threads->ending))
		(void) poll(&wait, 1, -1);
	atomic_fetch_sub(&threads->idle, 1);
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
	pthread_mutex_lock(&threads->lock);
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
	pthread_mutex_unlock(&threads->lock);
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

/* thread: connected; or NULL, and the new thread makes its own. With the lock held. */
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

int threads_start(struct threads *threads)
{
	unsigned first = threads->max < FIRST ? threads->max : FIRST;

	int r = 0;

	for (unsigned i = 0; i < first; i++) {
		struct thread *thread;

		r = thread_new(threads->client, &thread);
		if (r < 0)
			return r;
		r = connection_attach(&thread->connection);
		if (r < 0) {
			thread_free(thread);
			return r;
		}
		add(threads, thread);
	}
	/* With the lock held throughout: a thread that starts another one relies on having the last place itself. */
	pthread_mutex_lock(&threads->lock);
	for (unsigned i = 0; i < first && r == 0; i++)
		r = start_thread(threads, threads->all[i]);
	pthread_mutex_unlock(&threads->lock);
	return r;
}

void threads_end(struct threads *threads)
{
	pthread_mutex_lock(&threads->lock);
	atomic_store(&threads->ending, true);
	pthread_cond_broadcast(&threads->wake);
	pthread_mutex_unlock(&threads->lock);
	server_wake(threads->client->server);
}

void threads_join(struct threads *threads)
{
	for (;;) {
		pthread_t thread;

		pthread_mutex_lock(&threads->lock);
		if (threads->starting) { /* that one will add itself or give its place back */
			pthread_mutex_unlock(&threads->lock);
			(void) usleep(1000);
			continue;
		}
		if (threads->started == 0) {
			pthread_mutex_unlock(&threads->lock);
			return;
		}
		thread = threads->handles[--threads->started];
		pthread_mutex_unlock(&threads->lock);
		(void) pthread_join(thread, NULL);
	}
}
