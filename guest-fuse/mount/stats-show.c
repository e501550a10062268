/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-mount --stats: asks a running mount and prints what it says. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/mount/exits.h"
#include "guest-fuse/mount/stats.h"
#include "protocol/clock.h"
#include "protocol/document.h"
#include "protocol/json-lines.h"
#include "protocol/log.h"

enum { ANSWER_MAX = 64 * 1024, ANSWER_MS = 5000 };

static void print_table(const char *title, const json_t *counts)
{
	const char *name;
	json_t *value;

	(void) printf("%-16s %12s\n", title, "count");
	json_object_foreach((json_t *) counts, name, value)(void)
	        printf("  %-14s %12lld\n", name, (long long) json_integer_value(value));
}

static int print(const json_t *object, bool json)
{
	if (json) {
		(void) json_dumpf(object, stdout, JSON_COMPACT);
		(void) putchar('\n');
	} else {
		print_table("FUSE requests", json_object_get(object, "fuse"));
		print_table("RPCs", json_object_get(object, "rpc"));
		(void) printf("%-16s %12lld\n", "lanes",
		              (long long) json_integer_value(json_object_get(object, "lanes")));
		(void) printf("%-16s %12lld\n", "known nodes",
		              (long long) json_integer_value(json_object_get(object, "nodes")));
		(void) printf("%-16s %12lld\n", "known missing",
		              (long long) json_integer_value(json_object_get(object, "missing")));
		(void) printf("%-16s %12lld\n", "known by listing",
		              (long long) json_integer_value(json_object_get(object, "listed")));
		(void) printf("%-16s %12s\n", "leases asked for",
		              json_is_true(json_object_get(object, "leases")) ? "yes" : "no");
		(void) printf("%-16s %8s\n", "FUSE over io_uring",
		              json_is_true(json_object_get(object, "io_uring")) ? "yes" : "no");
	}
	return fflush(stdout) == 0 ? EXITS_OK : EXITS_SYSTEM;
}

int stats_show(const char *mountpoint, bool json)
{
	/* A mount says what it has to say, and closes. */
	_cleanup_json_lines_ struct json_lines lines = { .line_max = ANSWER_MAX,
		                                         .unfinished_is_ok = true,
		                                         .fd = -EBADF };
	_cleanup_json_ json_t *answer = NULL;
	char path[STATS_PATH_SIZE];
	struct statx stx;
	int r;

	/* Without a question to the server, which may be gone. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) < 0) {
		log_error("%s: %s", mountpoint, strerror(errno));
		return EXITS_USAGE;
	}
	stats_path(stx.stx_dev_major, stx.stx_dev_minor, path);
	r = json_lines_open(&lines, path, ANSWER_MS);
	if (r == -EACCES) {
		log_error("only root may ask for the figures of a mount");
		return EXITS_USAGE;
	}
	if (r < 0) {
		log_error("%s is no running mount of bindshare (%s: %s)", mountpoint, path, strerror(-r));
		return EXITS_USAGE;
	}
	r = json_lines_next(&lines, clock_ms() + ANSWER_MS, &answer);
	if (r == -EPROTO)
		log_error("the mount's answer makes no sense");
	else if (r < 0)
		log_error("%s does not answer: %s", mountpoint, strerror(-r));
	return r < 0 ? EXITS_SYSTEM : print(answer, json);
}
