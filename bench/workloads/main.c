/* SPDX-License-Identifier: Apache-2.0 */
/* bench-workloads: one phase of one workload in one directory; the driver is bindshare-bench. */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

static const struct workload workloads[] = {
	{ "micro", "single operations", micro_prepare, micro_run, NULL },
	{ "walk", "walk of a tree with stat", tree_prepare, tree_walk, tree_verify },
	{ "small-files", "open, read and close of each file of a tree", tree_prepare, tree_read, NULL },
	{ "missing", "names that are not there", tree_prepare, tree_missing, NULL },
	{ "create", "5,000 files of 4 KiB", NULL, create_run, create_verify },
	{ "remove", "rm -rf of a tree", tree_prepare, tree_remove, tree_remove_verify },
	{ "listing", "a directory of 20,000 entries", listing_prepare, listing_run, NULL },
	{ "listing-large", "a directory of 100,000 entries", listing_large_prepare, listing_large_run, NULL },
	{ "seq-write", "sequential write by 1 MiB", NULL, data_write, data_verify },
	{ "seq-read", "sequential read by 1 MiB", data_prepare, data_read, NULL },
	{ "random-read", "random reads of 4 KiB", data_prepare, data_random_read, NULL },
	{ "random-write", "random writes of 4 KiB", data_prepare, data_random_write, data_random_write_verify },
	{ "mmap", "a mapped file", data_prepare, data_map, NULL },
	{ "fsync", "4 KiB and fsync", NULL, data_sync, data_sync_verify },
	{ "write-1k", "appending by 1 KiB", NULL, data_append, data_append_verify },
	{ "clients", "1, 4 and 64 clients at once", clients_prepare, clients_run, NULL },
	{ "mixed", "changes by 1, 4 and 64 processes, and by 1 again", mixed_prepare, mixed_run, NULL },
	{ "host-change", "host's change until the guest sees it", NULL, changes_run, NULL },
};

static const char usage[] = "usage: bench-workloads list\n"
                            "       bench-workloads prepare|run|verify WORKLOAD DIR [--quick] [--host DIR]\n"
                            "       bench-workloads digest DIR\n";

static void list(void)
{
	(void) printf("[\n");
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++) {
		const struct workload *workload = &workloads[i];

		(void) printf("{\"name\": \"%s\", \"title\": \"%s\", \"prepare\": %s, \"verify\": %s}%s\n",
		              workload->name, workload->title, workload->prepare != NULL ? "true" : "false",
		              workload->verify != NULL ? "true" : "false", i + 1 < ARRAY_SIZE(workloads) ? "," : "");
	}
	(void) printf("]\n");
}

static const struct workload *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	errx(EXIT_FAILURE, "there is no workload %s", name);
}

static void work(const struct workload *workload, const char *phase, const struct place *place)
{
	void (*function)(const struct place *) = NULL;

	if (strcmp(phase, "prepare") == 0)
		function = workload->prepare;
	else if (strcmp(phase, "run") == 0)
		function = workload->run;
	else if (strcmp(phase, "verify") == 0)
		function = workload->verify;
	else
		errx(EXIT_FAILURE, "there is no phase %s\n%s", phase, usage);
	if (function != NULL)
		function(place);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "host", required_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct place place = { .directory = -EBADF };
	bool digest;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'q') {
			place.quick = true;
		} else if (option == 'H') {
			place.host = optarg;
		} else {
			(void) fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? EXIT_SUCCESS : EXIT_FAILURE;
		}
	}
	if (argc - optind == 1 && strcmp(argv[optind], "list") == 0) {
		list();
		return EXIT_SUCCESS;
	}
	digest = argc - optind == 2 && strcmp(argv[optind], "digest") == 0;
	if (!digest && argc - optind != 3) {
		(void) fputs(usage, stderr);
		return EXIT_FAILURE;
	}
	(void) umask(022);
	place.path = argv[argc - 1];
	place.directory = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place.directory < 0)
		err(EXIT_FAILURE, "%s", place.path);
	if (digest)
		digest_run(&place);
	else
		work(find(argv[optind + 1]), argv[optind], &place);
	place.directory = close_fd(place.directory);
	return EXIT_SUCCESS;
}
