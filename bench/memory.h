/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory programs share: arguments, the process's size, the line that is printed. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/number.h"

struct memory_arguments {
	long nodes;
	int name_length;
};

static inline struct memory_arguments memory_arguments(int argc, char **argv)
{
	uint64_t nodes = 1000000, name_length = 16;

	if ((argc > 1 && number_parse(argv[1], 1, 100000000, &nodes) < 0) ||
	    (argc > 2 && number_parse(argv[2], 9, 255, &name_length) < 0)) {
		fprintf(stderr, "usage: %s [NODES] [NAME-LENGTH from 9 to 255]\n", argv[0]);
		exit(EXIT_FAILURE);
	}
	return (struct memory_arguments){ .nodes = (long) nodes, .name_length = (int) name_length };
}

/* Resident memory of this process, in bytes (proc(5), statm). */
static inline long memory_resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) {
		perror("/proc/self/statm");
		exit(EXIT_FAILURE);
	}
	fclose(file);
	return resident * sysconf(_SC_PAGESIZE);
}

static inline void memory_name(char name[256], int length, long number)
{
	memset(name, 'n', 256);
	name[length] = '\0';
	(void) snprintf(name + length - 9, 10, "%09ld", number % 1000000000);
}

static inline void memory_report(const char *what, struct memory_arguments arguments, long bytes)
{
	printf("%s: %ld nodes with names of %d bytes: %.1f MiB, %.1f bytes each\n", what, arguments.nodes,
	       arguments.name_length, (double) bytes / 1048576, (double) bytes / (double) arguments.nodes);
}
