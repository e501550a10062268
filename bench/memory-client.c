/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the client needs for each node that the kernel references, and for each name that the kernel was told
 * not to exist: memory-client [NODES] [NAME-LENGTH]. Counts what the process grew by, allocator's overhead and all.
 */
#include <sys/stat.h>

#include "bench/memory.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/objects.h"

static int nodes(struct memory_arguments arguments)
{
	struct proto_entry entry = { .attr = { .mode = S_IFREG | 0644, .nlink = 1 } };
	uint64_t root = PROTO_ID(1, 0);
	struct objects *objects;
	long before;
	char name[256];

	if (objects_new(root, &objects) < 0) {
		fprintf(stderr, "memory-client: no table\n");
		return EXIT_FAILURE;
	}
	before = memory_resident();
	for (long i = 0; i < arguments.nodes; i++) {
		entry.node = PROTO_ID(1, (uint32_t) i + 1);
		entry.attr.ino = (uint64_t) i + 1000;
		memory_name(name, arguments.name_length, i);
		if (objects_learn(objects, root, name, &entry, 1) < 0) {
			fprintf(stderr, "memory-client: no node\n");
			return EXIT_FAILURE;
		}
	}
	memory_report("client", arguments, memory_resident() - before);
	return EXIT_SUCCESS;
}

static int absent_names(struct memory_arguments arguments)
{
	struct absent *absent = absent_new((size_t) arguments.nodes);
	long before = memory_resident();
	struct absent_name evicted;
	char name[256];

	for (long i = 0; i < arguments.nodes; i++) {
		memory_name(name, arguments.name_length, i);
		if (absent == NULL || absent_add(absent, (uint64_t) i / 100 + 1, name, &evicted) != 0) {
			fprintf(stderr, "memory-client: no absent name\n");
			return EXIT_FAILURE;
		}
	}
	memory_report("client, absent names", arguments, memory_resident() - before);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct memory_arguments arguments = memory_arguments(argc, argv);
	int code = nodes(arguments);

	return code == EXIT_SUCCESS ? absent_names(arguments) : code;
}
