/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the worker's table needs for each known node: memory-server [NODES] [NAME-LENGTH]. Descriptors are
 * not in it: their budget is another limit. Counts what the process grew by, allocator's overhead and all.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/memory.h"
#include "fileserver/worker/nodes/ids.h"

int main(int argc, char **argv)
{
	struct memory_arguments arguments = memory_arguments(argc, argv);
	struct nodes *nodes;
	struct node *root, *node;
	struct statx stx = { .stx_mask = NODES_STATX, .stx_mode = S_IFREG | 0644, .stx_dev_major = 1 };
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long before;
	char name[256];

	if (fd < 0 || nodes_new(fd, (uint32_t) arguments.nodes + 1, 1000, NULL, &nodes) < 0 ||
	    nodes_get(nodes, nodes_root(nodes), &root) < 0) {
		fprintf(stderr, "memory-server: no table\n");
		return EXIT_FAILURE;
	}
	before = memory_resident();
	for (long i = 0; i < arguments.nodes; i++) {
		stx.stx_ino = (uint64_t) i + 1000;
		stx.stx_btime.tv_sec = i;
		memory_name(name, arguments.name_length, i);
		if (nodes_learn(nodes, root, name, &stx, -EBADF, true, &node) < 0) {
			fprintf(stderr, "memory-server: no node\n");
			return EXIT_FAILURE;
		}
		nodes_put(nodes, node);
	}
	memory_report("server", arguments, memory_resident() - before);
	return EXIT_SUCCESS;
}
