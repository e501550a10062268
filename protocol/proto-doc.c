/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/PROTOCOL.md from the table of operations: proto-doc INTRODUCTION > docs/PROTOCOL.md */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/frame.h"

static const char *const from_words[] = { "", "guest", "server", "guest or server" };
static const char *const lane_words[] = {
	[PROTO_LANE_HANDSHAKE] = "handshake",    [PROTO_LANE_EVENT] = "event", [PROTO_LANE_LIST] = "list",
	[PROTO_LANE_EVENT_LIST] = "event, list", [PROTO_LANE_DATA] = "data",
};
static const char *const changes_words[] = { "", "no", "yes", "if the flags ask for it" };
static const char *const replay_words[] = { "", "SAFE", "ONCE", "NEVER", "NOREPLY" };

static void print_operation(unsigned number)
{
	const struct proto_op_info *info = proto_op_info(number);

	const char *errors = proto_op_errors(number);

	printf("\n### %u `%s`\n\n%s\n\nLane: %s. From: %s. Changes something: %s. Replay: %s.%s%s%s\n\n", number,
	       info->name, info->doc, lane_words[info->lane], from_words[info->from], changes_words[info->changes],
	       replay_words[info->replay], *errors == '\0' ? "" : " Errors: ", errors, *errors == '\0' ? "" : ".");
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
#define KIND(kind, type, most, doc) printf("| %s | %s |\n", #kind, doc);
	PROTO_KINDS(KIND)
#undef KIND
	printf("\n## Operations\n");
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) print_operation(number);
#define REQUEST(op)                                              printf("| field | kind | meaning |\n|---|---|---|\n| **request** | | |\n");
#define FIELD(kind, name, doc)                                   printf("| `%s` | %s | %s |\n", #name, #kind, doc);
#define OBJECT(kind, need, name, doc)                            printf("| `%s` | %s (%s) | %s |\n", #name, #kind, #need, doc);
#define REPLY(op)                                                printf("| **reply** | | |\n");
#include "protocol/ops.def"
	return EXIT_SUCCESS;
}
