/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the client needs for each node that the kernel references, for each name that the kernel was told not
 * to exist, and for each one in a directory that was fetched whole: memory-client [NODES] [NAME-LENGTH]. Counts what
 * the process grew by, allocator's overhead and all.
 */
#include <sys/stat.h>

#include "bench/memory.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/listings.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

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

enum { LISTED_EACH = 50 };

/* One directory of LISTED_EACH files. False: out of memory. */
static bool list(struct listings *listings, const struct validity *validity, uint64_t directory, int name_length)
{
	const struct answer answer = { .since = clock_ns(), .events = held_now(validity->held), .leased = true };
	uint8_t bytes[LISTED_EACH * PROTO_DIRENT_MAX];
	struct directory_piece piece;
	struct proto_writer writer;
	uint64_t ticket;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	for (long i = 0; i < LISTED_EACH; i++) {
		struct proto_dirent dirent = { .cookie = (uint64_t) i + 1, .node = PROTO_ID(1, i + 1) };

		dirent.attr.mode = S_IFREG | 0644;
		dirent.name.length = (size_t) name_length;
		memory_name(dirent.name.text, name_length, i);
		proto_put_dirent(&writer, &dirent);
	}
	return directory_piece_init(bytes, (size_t) (writer.next - writer.start), 0, &answer, true, &piece) == 0 &&
	       listings_begin(listings, directory, &ticket) &&
	       listings_put(listings, validity, directory, ticket, &piece, true);
}

static int listed_names(struct memory_arguments arguments)
{
	struct listings *listings = listings_new(SIZE_MAX);
	struct file_binds *file_binds = file_binds_new();
	struct held *held = held_new();
	struct validity validity;
	long before = memory_resident();

	if (listings == NULL || file_binds == NULL || held == NULL)
		return EXIT_FAILURE;
	validity_init(&validity, true, true, file_binds, held);
	for (long i = 0; i < arguments.nodes / LISTED_EACH; i++)
		if (!list(listings, &validity, PROTO_ID(1, i + 1), arguments.name_length)) {
			fprintf(stderr, "memory-client: no listing\n");
			return EXIT_FAILURE;
		}
	memory_report("client, listed names", arguments, memory_resident() - before);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct memory_arguments arguments = memory_arguments(argc, argv);
	int code = nodes(arguments);

	if (code == EXIT_SUCCESS)
		code = absent_names(arguments);
	return code == EXIT_SUCCESS ? listed_names(arguments) : code;
}
