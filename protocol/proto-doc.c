/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/PROTOCOL.md from the table of operations: proto-doc INTRODUCTION > docs/PROTOCOL.md */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/frame.h"

static const char *const lane_words[] = { "", "handshake", "event", "list", "data" };
static const char *const changes_words[] = { "", "no", "yes", "if the flags ask for it" };
static const char *const replay_words[] = { "", "SAFE", "ONCE", "NEVER", "NOREPLY" };

static void print_operation(unsigned number)
{
	const struct proto_op_info *info = proto_op_info(number);

	printf("\n### %u `%s`\n\n%s\n\nLane: %s. Changes something: %s. Replay: %s.\n\n", number, info->name, info->doc,
	       lane_words[info->lane], changes_words[info->changes], replay_words[info->replay]);
}

static int copy_introduction(const char *path)
{
	FILE *file = fopen(path, "re");
	int c;

	if (file == NULL) {
		perror(path);
		return EXIT_FAILURE;
	}
	while ((c = getc(file)) != EOF)
		putchar(c);
	fclose(file);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: proto-doc INTRODUCTION\n");
		return EXIT_FAILURE;
	}
	if (copy_introduction(argv[1]) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	printf("\n## Kinds of field\n\n| kind | bytes, and what is refused |\n|---|---|\n");
#define KIND(kind, type, doc) printf("| %s | %s |\n", #kind, doc);
	PROTO_KINDS(KIND)
#undef KIND
	printf("\n## Operations\n");
#define OP(SYMBOL, op, number, lane, changes, replay, doc) print_operation(number);
#define REQUEST(op)                                        printf("| field | kind | meaning |\n|---|---|---|\n| **request** | | |\n");
#define FIELD(kind, name, doc)                             printf("| `%s` | %s | %s |\n", #name, #kind, doc);
#define REPLY(op)                                          printf("| **reply** | | |\n");
#define END(op)
#include "protocol/ops.def"
	return EXIT_SUCCESS;
}
