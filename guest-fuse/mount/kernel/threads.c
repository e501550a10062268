/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a mount: as many as there are requests at once, up to a limit. */
#include "guest-fuse/mount/kernel/threads.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "guest-fuse/mount/client.h"
#include "protocol/clock.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/lowlevel.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum {
	LANES_STACK = 256 * 1024,
	RETRY_NS = 1000000000,
	HELD_NS = 1000000, /* messages without a reply wait no longer for another one to go with */
	CROWD = 4,         /* so many requests in a row that waited: the threads are too slow for them */
	CROWD_THREADS = 8, /* so many are enough for what the server answers at once */
};

void lanes_init(struct lanes *lanes, struct client *client)
{
	memset(lanes, 0, sizeof(*lanes));
	lanes->client = client;
	pthread_mutex_init(&lanes->lock, NULL);
	pthread_mutex_init(&lanes->early_lock, NULL);
	pthread_cond_init(&lanes->wake, NULL);
}

void lanes_limit(struct lanes *lanes, unsigned max)
{
	lanes->max = max < LANES_MAX ? max : LANES_MAX;
}

void lanes_done(struct lanes *lanes)
{
	for (unsigned i = 0; i < atomic_load(&lanes->count); i++)
		lane_free(lanes->all[i]);
	pthread_cond_destroy(&lanes->wake);
	pthread_mutex_destroy(&lanes->early_lock);
	pthread_mutex_destroy(&lanes->lock);
}

/* This thread will read. How many others do. */
static int note_reader(struct lanes *lanes)
{
	if (atomic_load_explicit(&lanes->saturated, memory_order_relaxed))
		atomic_store(&lanes->saturated, false);
	return atomic_fetch_add(&lanes->idle, 1);
}

/* Before the thread waits for the kernel: only if few enough do. */
static void take_place(struct lanes *lanes)
{
	if (note_reader(lanes) < LANES_IDLE)
		return;
	pthread_mutex_lock(&lanes->lock);
	if (atomic_load(&lanes->idle) > LANES_IDLE && !atomic_load(&lanes->ending)) {
		atomic_fetch_sub(&lanes->idle, 1);
		lanes->parked++;
		while (lanes->wakes == 0 && !atomic_load(&lanes->ending))
			pthread_cond_wait(&lanes->wake, &lanes->lock);
		lanes->parked--;
		if (lanes->wakes > 0)
			lanes->wakes--;
		atomic_fetch_add(&lanes->idle, 1);
	}
	pthread_mutex_unlock(&lanes->lock);
}

bool lanes_are_read(const struct lanes *lanes)
{
	return atomic_load_explicit(&lanes->idle, memory_order_relaxed) > 0;
}

unsigned lanes_others(const struct lanes *lanes)
{
	return atomic_load_explicit(&lanes->working, memory_order_relaxed) - 1;
}

static int start_thread(struct lanes *lanes, struct lane *lane);

void lanes_grow(struct lanes *lanes)
{
	bool alone = false;
	int r = 0;

	pthread_mutex_lock(&lanes->lock);
	/* One that was woken and does not run yet will see to it that there is a next one. */
	if (atomic_load(&lanes->idle) == 0 && lanes->wakes == 0 && !atomic_load(&lanes->ending)) {
		if (lanes->parked > 0) {
			lanes->wakes++;
			pthread_cond_signal(&lanes->wake);
		} else {
			alone = true;
			if (!lanes->starting && lanes->started < lanes->max && clock_ns() >= lanes->retry_at &&
			    atomic_load(&lanes->client->dead) == 0)
				r = start_thread(lanes, NULL);
			if (r < 0)
				lanes->retry_at = clock_ns() + RETRY_NS;
		}
	}
	pthread_mutex_unlock(&lanes->lock);
	/*
	 * Nobody reads the kernel's word that a process is to die, be it because there can be no more threads or
	 * because the next one waits for the server to let it in: the keeper looks for itself.
	 */
	if (alone && !atomic_exchange(&lanes->saturated, true))
		client_wake(lanes->client);
	if (r < 0)
		log_peer_warning("cannot start another thread: %s", strerror(-r));
}

/* One look. 1: a request lies in the lane's buffer; 0: there is none; -1: the mount is gone. */
static int read_request(struct lane *lane)
{
	struct lanes *lanes = &lane->client->lanes;
	ssize_t n;

	do
		n = FAULT(MOUNT_FUSE_READ, read(lane->device, lane->buffer, LANE_BUFFER_SIZE));
	while (n < 0 && (errno == EINTR || errno == ENOENT)); /* ENOENT: the request was taken back */
	if (n >= (ssize_t) sizeof(struct fuse_in_header)) {
		lane->request_size = (size_t) n;
		return 1;
	}
	if (n >= 0 || errno == EAGAIN)
		return 0;
	if (errno != ENODEV && errno != ECONNABORTED)
		log_error("reading from /dev/fuse: %s", strerror(errno));
	lanes_end(lanes);
	return -1;
}

/*
 * found: there was a request before the thread was. True: so many in a row that more threads are to read. A process
 * that works alone can be as quick with its next request, so only one of another process counts; RELEASE has none.
 */
static bool is_crowd(struct lane *lane, bool found)
{
	struct lanes *lanes = &lane->client->lanes;
	uint32_t asker = found ? lane_request(lane)->pid : 0;
	unsigned row = 0;

	if (found && asker == 0)
		return false;
	if (atomic_exchange_explicit(&lanes->asker, asker, memory_order_relaxed) != asker && found)
		row = atomic_load_explicit(&lanes->waited, memory_order_relaxed) + 1;
	atomic_store_explicit(&lanes->waited, row < CROWD ? row : 0, memory_order_relaxed);
	return row >= CROWD && atomic_load(&lanes->working) < CROWD_THREADS;
}

/* There is nothing to do: looks for a request while that is worth it, then sleeps. As read_request(). */
static int wait_for_request(struct lane *lane)
{
	struct pollfd wait = { .fd = lane->device, .events = POLLIN };
	struct lanes *lanes = &lane->client->lanes;
	int r = 0;

	if (proto_spin_begin(&lane->spin, atomic_load(&lanes->working) + (unsigned) atomic_load(&lanes->idle))) {
		note_reader(lanes);
		do
			r = read_request(lane);
		while (r == 0 && proto_spin_again(&lane->spin));
		atomic_fetch_sub(&lanes->idle, 1);
		proto_spin_end(&lane->spin, r > 0);
	}
	if (r != 0)
		return r;
	lane_flush(lane, 0);
	take_place(lanes);
	while ((r = read_request(lane)) == 0 && !atomic_load(&lanes->ending))
		(void) poll(&wait, 1, -1);
	atomic_fetch_sub(&lanes->idle, 1);
	return r;
}

static void serve(struct lane *lane)
{
	struct lanes *lanes = &lane->client->lanes;

	while (!atomic_load(&lanes->ending)) {
		int r = read_request(lane);

		lane_flush(lane, HELD_NS);
		if (is_crowd(lane, r > 0))
			lanes_grow(lanes);
		if (r == 0)
			r = wait_for_request(lane);
		if (r <= 0)
			continue;
		atomic_fetch_add(&lanes->working, 1);
		lane_begin(lane);
		interrupts_arrived_early(lanes, lane);
		session_process(lane);
		lane_end(lane);
		notifier_prune(&lanes->client->notifier);
		atomic_fetch_sub(&lanes->working, 1);
	}
}

/* Another lane, connected by its own thread so that nobody waits for it. */
static struct lane *join_session(struct lanes *lanes)
{
	struct lane *lane = NULL;
	int r = lane_new(lanes->client, &lane);

	if (r == 0)
		r = lane_attach(lane);
	pthread_mutex_lock(&lanes->lock);
	lanes->starting = false;
	if (r == 0) {
		lanes->all[atomic_load(&lanes->count)] = lane;
		atomic_fetch_add(&lanes->count, 1);
	} else {
		/* No thread was started after this one: its place, the last, is free again. */
		lanes->retry_at = clock_ns() + RETRY_NS;
		lanes->started--;
		(void) pthread_detach(pthread_self());
	}
	pthread_mutex_unlock(&lanes->lock);
	if (r == 0)
		return lane;
	lane_free(lane);
	log_peer_warning("no further lane (%s): going on with %u", strerror(-r), atomic_load(&lanes->count));
	return NULL;
}

static void *run_first(void *argument)
{
	lane_set_current(argument);
	serve(argument);
	return NULL;
}

static void *run_further(void *argument)
{
	struct lanes *lanes = argument;
	struct lane *lane = join_session(lanes);

	if (lane == NULL)
		return NULL;
	lane_set_current(lane);
	serve(lane);
	return NULL;
}

/* lane: one that is connected, or NULL: the thread makes its own. With the lock held. */
static int start_thread(struct lanes *lanes, struct lane *lane)
{
	pthread_attr_t attributes;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, LANES_STACK);
	r = FAULT_NUMBER(MOUNT_THREAD, pthread_create(&lanes->threads[lanes->started], &attributes,
	                                              lane != NULL ? run_first : run_further,
	                                              lane != NULL ? (void *) lane : (void *) lanes));
	pthread_attr_destroy(&attributes);
	if (r == 0) {
		lanes->started++;
		lanes->starting = lanes->starting || lane == NULL;
	}
	return -r;
}

int lanes_start(struct lanes *lanes)
{
	unsigned first = lanes->max < LANES_FIRST ? lanes->max : LANES_FIRST;

	int r = 0;

	for (unsigned i = 0; i < first; i++) {
		struct lane *lane;

		r = lane_new(lanes->client, &lane);
		if (r < 0)
			return r;
		r = lane_attach(lane);
		if (r < 0) {
			lane_free(lane);
			return r;
		}
		lanes->all[i] = lane;
		atomic_store(&lanes->count, i + 1);
	}
	/* All in one go: a thread that starts another one must find its own place the last that was taken. */
	pthread_mutex_lock(&lanes->lock);
	for (unsigned i = 0; i < first && r == 0; i++)
		r = start_thread(lanes, lanes->all[i]);
	pthread_mutex_unlock(&lanes->lock);
	return r;
}

void lanes_kill(struct lanes *lanes)
{
	for (unsigned i = 0; i < atomic_load(&lanes->count); i++)
		lane_kill(lanes->all[i]);
}

void lanes_end(struct lanes *lanes)
{
	pthread_mutex_lock(&lanes->lock);
	atomic_store(&lanes->ending, true);
	pthread_cond_broadcast(&lanes->wake);
	pthread_mutex_unlock(&lanes->lock);
	client_wake(lanes->client);
}

void lanes_join(struct lanes *lanes)
{
	for (;;) {
		pthread_t thread;

		pthread_mutex_lock(&lanes->lock);
		if (lanes->starting) { /* it may still add itself, or take itself away */
			pthread_mutex_unlock(&lanes->lock);
			(void) usleep(1000);
			continue;
		}
		if (lanes->started == 0) {
			pthread_mutex_unlock(&lanes->lock);
			return;
		}
		thread = lanes->threads[--lanes->started];
		pthread_mutex_unlock(&lanes->lock);
		(void) pthread_join(thread, NULL);
	}
}
