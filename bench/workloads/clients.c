/* SPDX-License-Identifier: Apache-2.0 */
/* Several clients at once: how much they get done together, and whether each gets its part. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/workloads/content.h"
#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { CLIENTS = 64, SIZE = 1024, SEED = 31, NAME = 32, SAMPLES = 1 << 16 };

struct client {
	const struct place *place;
	pthread_barrier_t *start;
	atomic_bool *end;
	int number;
	uint64_t operations;
	struct samples samples;
};

void clients_prepare(const struct place *place)
{
	char name[NAME];

	for (int i = 0; i < CLIENTS; i++) {
		(void) snprintf(name, NAME, "client%02d", i);
		if (mkdirat(place->directory, name, 0755) < 0)
			err(EXIT_FAILURE, "%s", name);
	}
}

/* One file's life in the client's own directory: create and write, stat, read back, remove. */
static void one_file(int directory, const char *name, const char content[SIZE])
{
	_cleanup_close_ int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	char back[SIZE];
	struct stat st;

	if (fd < 0 || write(fd, content, SIZE) != SIZE)
		err(EXIT_FAILURE, "create of %s", name);
	(void) close(TAKE_FD(fd));
	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size != SIZE)
		errx(EXIT_FAILURE, "%s has not the size that was written", name);
	fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, back, SIZE) != SIZE)
		err(EXIT_FAILURE, "read of %s", name);
	content_check_buffer(back, SIZE, name, SEED, 0);
	if (unlinkat(directory, name, 0) < 0)
		err(EXIT_FAILURE, "unlink of %s", name);
}

static void *client_main(void *argument)
{
	struct client *client = argument;
	_cleanup_close_ int directory = -EBADF;
	char content[SIZE], name[NAME];

	(void) snprintf(name, NAME, "client%02d", client->number);
	directory = openat(client->place->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		err(EXIT_FAILURE, "%s", name);
	content_fill(content, SIZE, SEED, 0);
	(void) pthread_barrier_wait(client->start);
	while (!atomic_load_explicit(client->end, memory_order_relaxed)) {
		uint64_t begin = measure_now();

		(void) snprintf(name, NAME, "file%06llu", (unsigned long long) client->operations);
		one_file(directory, name, content);
		samples_add(&client->samples, begin);
		client->operations++;
	}
	return NULL;
}

static void report(const struct client *clients, int count, uint64_t ns)
{
	uint64_t least = UINT64_MAX, most = 0, total = 0;
	struct samples all;
	char row[NAME];

	samples_init(&all, (size_t) count * SAMPLES);
	for (int i = 0; i < count; i++) {
		least = clients[i].operations < least ? clients[i].operations : least;
		most = clients[i].operations > most ? clients[i].operations : most;
		total += clients[i].operations;
		samples_append(&all, &clients[i].samples);
	}
	(void) snprintf(row, NAME, "clients %d", count);
	report_clients(row, ns, total, &all);
	if (count > 1) {
		(void) snprintf(row, NAME, "clients %d, fairness", count);
		report_value(row, "max/min", least > 0 ? (double) most / (double) least : (double) most * 2);
	}
	samples_done(&all);
}

static void run_clients(const struct place *place, int count)
{
	struct client *clients = calloc((size_t) count, sizeof(*clients));
	pthread_t *threads = calloc((size_t) count, sizeof(*threads));
	pthread_barrier_t start;
	atomic_bool end = false;
	uint64_t begin;

	if (clients == NULL || threads == NULL)
		err(EXIT_FAILURE, "memory");
	(void) pthread_barrier_init(&start, NULL, (unsigned) count + 1);
	for (int i = 0; i < count; i++) {
		clients[i] = (struct client){ .place = place, .start = &start, .end = &end, .number = i };
		samples_init(&clients[i].samples, SAMPLES);
		if (pthread_create(&threads[i], NULL, client_main, &clients[i]) != 0)
			errx(EXIT_FAILURE, "no thread");
	}
	(void) pthread_barrier_wait(&start);
	begin = measure_now();
	(void) usleep(place->quick ? 300000 : 2000000);
	atomic_store(&end, true);
	for (int i = 0; i < count; i++)
		(void) pthread_join(threads[i], NULL);
	report(clients, count, measure_now() - begin);
	for (int i = 0; i < count; i++)
		samples_done(&clients[i].samples);
	(void) pthread_barrier_destroy(&start);
	free(threads);
	free(clients);
}

void clients_run(const struct place *place)
{
	run_clients(place, 1);
	run_clients(place, 4);
	run_clients(place, CLIENTS);
}
