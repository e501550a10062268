/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same work by one process and by several, each in a directory of its own: as package managers, build tools and
 * version control do it. Then by one again: what many have left behind must not cost it anything.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { PROCESSES = 64, ROUNDS = 2048, NAME = 32, SIZE = 1024 };

void mixed_prepare(const struct place *place)
{
	char name[NAME];

	for (int i = 0; i < PROCESSES; i++) {
		(void) snprintf(name, NAME, "process%02d", i);
		if (mkdirat(place->directory, name, 0755) < 0)
			err(EXIT_FAILURE, "%s", name);
	}
}

/* Eight calls that name a file, and those that write and read it. */
static void one_round(int directory)
{
	_cleanup_close_ int fd = openat(directory, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	static const char content[SIZE] = "content";
	char back[SIZE];
	struct stat st;

	if (fd < 0 || write(fd, content, SIZE) != SIZE)
		err(EXIT_FAILURE, "create");
	(void) close(TAKE_FD(fd));
	if (renameat(directory, "new", directory, "file") < 0)
		err(EXIT_FAILURE, "rename");
	if (fstatat(directory, "file", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size != SIZE)
		errx(EXIT_FAILURE, "the file has not the size that was written");
	if (linkat(directory, "file", directory, "link", 0) < 0)
		err(EXIT_FAILURE, "link");
	fd = openat(directory, "link", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, back, SIZE) != SIZE || back[0] != content[0])
		err(EXIT_FAILURE, "read");
	if (fchmodat(directory, "file", 0644, 0) < 0)
		err(EXIT_FAILURE, "chmod");
	if (unlinkat(directory, "file", 0) < 0 || unlinkat(directory, "link", 0) < 0)
		err(EXIT_FAILURE, "unlink");
}

static void work(const struct place *place, int number, int rounds, int start)
{
	_cleanup_close_ int directory = -EBADF;
	char name[NAME], byte;

	(void) snprintf(name, NAME, "process%02d", number);
	directory = openat(place->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		err(EXIT_FAILURE, "%s", name);
	/* Ends when the parent closes its side. */
	if (read(start, &byte, 1) != 0)
		err(EXIT_FAILURE, "waiting");
	for (int i = 0; i < rounds; i++)
		one_round(directory);
}

/* The slowest process's time is what counts, so fairness is part of it. */
static void run(const struct place *place, const char *row, int count)
{
	int rounds = (place->quick ? ROUNDS / 8 : ROUNDS) / count, start[2], status;
	uint64_t begin;

	if (pipe2(start, O_CLOEXEC) < 0)
		err(EXIT_FAILURE, "pipe");
	for (int i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0)
			err(EXIT_FAILURE, "fork");
		if (child == 0) {
			(void) close(start[1]);
			work(place, i, rounds, start[0]);
			_exit(EXIT_SUCCESS);
		}
	}
	(void) usleep(50000);
	(void) close(start[0]);
	begin = measure_now();
	(void) close(start[1]);
	for (int i = 0; i < count; i++)
		if (wait(&status) < 0 || status != 0)
			errx(EXIT_FAILURE, "a process failed");
	report_duration(row, measure_now() - begin, (uint64_t) rounds * (uint64_t) count, 0);
}

void mixed_run(const struct place *place)
{
	run(place, "mixed changes, 1 process", 1);
	run(place, "mixed changes, 4 processes", 4);
	run(place, "mixed changes, 64 processes", PROCESSES);
	run(place, "mixed changes, 1 process after 64", 1);
}
