/* SPDX-License-Identifier: Apache-2.0 */
/* model --local DIR --mount DIR --host DIR --operations N --seed S: whether a mount behaves as a local directory does.
 */
#include "tests/e2e/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TREES_EVERY = 4000, EPOCH = 20000, MINIMISE_SECONDS = 60, PRINT_MAX = 60 };

static struct {
	const char *local, *mount, *host;
	uint64_t operations, seed;
} options = { .operations = 20000, .seed = 1 };

/* A fresh pair of directories for one run of a sequence. */
struct run {
	char local[4096], mount[4096], host[4096];
	struct model_side sides[2];
};

static bool run_start(struct run *run)
{
	static unsigned number;
	char below[4096 + 8];

	number++;
	(void) snprintf(run->local, sizeof(run->local), "%s/r%u", options.local, number);
	(void) snprintf(run->mount, sizeof(run->mount), "%s/r%u", options.mount, number);
	(void) snprintf(run->host, sizeof(run->host), "%s/r%u", options.host, number);
	run->sides[0] = (struct model_side){ .name = "local" };
	run->sides[1] = (struct model_side){ .name = "mount" };
	for (int i = 0; i < 2; i++) {
		const char *path = i == 0 ? run->local : run->mount;

		(void) snprintf(below, sizeof(below), "%s/t", path);
		if (mkdir(path, 0755) < 0 || mkdir(below, 0755) < 0)
			return false;
		run->sides[i].root = open(below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (run->sides[i].root < 0)
			return false;
		for (int slot = 0; slot < MODEL_SLOTS; slot++)
			run->sides[i].fds[slot] = -1;
	}
	return true;
}

static void run_end(struct run *run)
{
	for (int i = 0; i < 2; i++) {
		for (int slot = 0; slot < MODEL_SLOTS; slot++)
			if (run->sides[i].fds[slot] >= 0)
				(void) close(run->sides[i].fds[slot]);
		(void) close(run->sides[i].root);
	}
	model_remove_tree(run->local);
	model_remove_tree(run->mount);
}

static bool same_trees(const struct run *run, bool quiet)
{
	return model_same_trees(run->local, run->mount, false, quiet) &&
	       model_same_trees(run->local, run->host, true, quiet);
}

static void print_result(const char *side, const struct model_result *result)
{
	printf("#   %s: %" PRId64 " %s seen %016" PRIx64 "%s%s\n", side, result->value,
	       result->error == 0 ? "" : strerrorname_np(result->error), result->seen,
	       result->text[0] == '\0' ? "" : ": ", result->text);
}

/* Does numbers[0..count), or 0..count when numbers is NULL. How many were done alike; count for all. */
static uint64_t replay(struct run *run, const uint64_t *numbers, uint64_t count, bool quiet, bool *ret_trees)
{
	struct model_result results[2];
	struct model_operation operation;

	*ret_trees = true;
	for (uint64_t i = 0; i < count; i++) {
		model_generate(options.seed, numbers == NULL ? i : numbers[i], &operation);
		for (int side = 0; side < 2; side++)
			model_do(&run->sides[side], &operation, &results[side]);
		if (results[0].value != results[1].value || results[0].error != results[1].error ||
		    results[0].seen != results[1].seen) {
			if (!quiet) {
				model_print(numbers == NULL ? i : numbers[i], &operation);
				print_result("local", &results[0]);
				print_result("mount", &results[1]);
			}
			return i;
		}
		if ((i + 1) % TREES_EVERY == 0 && !(*ret_trees = same_trees(run, quiet)))
			return i;
	}
	*ret_trees = same_trees(run, quiet);
	return *ret_trees ? count : count - 1;
}

/* Whether this part of the sequence still shows a difference; cuts *count behind it. */
static bool fails(const uint64_t *numbers, uint64_t *count)
{
	struct run run;
	uint64_t done;
	bool trees;

	if (!run_start(&run))
		return false;
	done = replay(&run, numbers, *count, true, &trees);
	run_end(&run);
	if (done == *count)
		return false;
	*count = done + 1;
	return true;
}

static void print_sequence(const uint64_t *numbers, uint64_t count)
{
	struct model_operation operation;
	struct run run;
	bool trees;

	printf("# the shortest sequence that was found, %" PRIu64 " operations; its end:\n", count);
	for (uint64_t i = count < PRINT_MAX ? 0 : count - PRINT_MAX; i < count; i++) {
		model_generate(options.seed, numbers[i], &operation);
		model_print(numbers[i], &operation);
	}
	if (run_start(&run)) {
		(void) replay(&run, numbers, count, false, &trees);
		run_end(&run);
	}
}

/* Leaves out parts, large ones first, as long as the rest still shows a difference. */
static void minimise(uint64_t count)
{
	uint64_t *numbers = malloc(count * sizeof(*numbers)), *trial = malloc(count * sizeof(*trial));
	time_t end = time(NULL) + MINIMISE_SECONDS;

	for (uint64_t i = 0; i < count; i++)
		numbers[i] = i;
	for (uint64_t part = count / 2; part > 0 && time(NULL) < end; part = part > 1 ? (part + 1) / 2 : 0) {
		for (uint64_t at = 0; at < count && time(NULL) < end;) {
			uint64_t left = at + part < count ? count - at - part : 0, size = at + left;

			memcpy(trial, numbers, at * sizeof(*trial));
			memcpy(trial + at, numbers + at + part, left * sizeof(*trial));
			if (size > 0 && fails(trial, &size)) {
				memcpy(numbers, trial, size * sizeof(*trial));
				count = size;
			} else {
				at += part;
			}
		}
		if (part == 1)
			break;
	}
	print_sequence(numbers, count);
	free(numbers);
	free(trial);
}

static bool parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "local", required_argument, NULL, 'l' }, { "mount", required_argument, NULL, 'm' },
		{ "host", required_argument, NULL, 'h' },  { "operations", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },  { NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'l':
			options.local = optarg;
			break;
		case 'm':
			options.mount = optarg;
			break;
		case 'h':
			options.host = optarg;
			break;
		case 'n':
			options.operations = strtoull(optarg, NULL, 10);
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 10);
			break;
		default:
			return false;
		}
	}
	return options.local != NULL && options.mount != NULL && options.host != NULL && options.operations > 0;
}

/* In a fresh pair of directories, so that trees do not grow for ever. False after telling about a difference. */
static bool compare(uint64_t count)
{
	struct run run;
	uint64_t done;
	bool trees;

	if (!run_start(&run)) {
		perror("model");
		return false;
	}
	done = replay(&run, NULL, count, false, &trees);
	run_end(&run);
	if (done == count)
		return true;
	printf("# seed %" PRIu64 ": operation %" PRIu64 " differs\n", options.seed, done);
	minimise(done + 1);
	return false;
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		(void) fprintf(stderr, "usage: model --local DIR --mount DIR --host DIR [--operations N] [--seed S]\n");
		return 64;
	}
	(void) umask(022);
	(void) signal(SIGPIPE, SIG_IGN); /* FIFOs without a reader */
	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint64_t left = options.operations; left > 0; options.seed++) {
		uint64_t count = left < EPOCH ? left : EPOCH;

		if (!compare(count))
			return 1;
		left -= count;
	}
	return 0;
}
