/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bindshare-mount, as people and as mount(8) write it. */
#include "guest-fuse/mount/mount-options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "protocol/cleanup.h"
#include "protocol/number.h"

enum { LISTINGS_MIB = 4096 };

struct parser {
	struct mount_options *options;
	char *error;
	size_t error_size;
};

static int fail(const struct parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(const struct parser *parser, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void) vsnprintf(parser->error, parser->error_size, format, list);
	va_end(list);
	return -EINVAL;
}

static int number(const struct parser *parser, const char *name, const char *value, unsigned long least,
                  unsigned long most, unsigned long *ret_number)
{
	uint64_t number;

	if (number_parse(value, least, most, &number) < 0)
		return fail(parser, "option %s=%s: a number from %lu to %lu is wanted", name, value, least, most);
	*ret_number = number;
	return 0;
}

static int text(const struct parser *parser, const char *name, const char *value, char **ret_text)
{
	if (*value == '\0')
		return fail(parser, "option %s= is empty", name);
	free(*ret_text);
	*ret_text = strdup(value);
	return *ret_text == NULL ? -ENOMEM : 0;
}

static int choice(const struct parser *parser, const char *name, const char *value, const char *no, const char *yes,
                  bool *ret_yes)
{
	*ret_yes = strcmp(value, yes) == 0;
	if (!*ret_yes && strcmp(value, no) != 0)
		return fail(parser, "option %s=%s: %s or %s is wanted", name, value, no, yes);
	return 0;
}

static int cache(const struct parser *parser, const char *value)
{
	struct mount_options *options = parser->options;

	options->no_cache = strcmp(value, "none") == 0;
	options->leases = strcmp(value, "auto") == 0;
	if (!options->no_cache && !options->leases && strcmp(value, "timeout") != 0)
		return fail(parser, "option cache=%s: auto, timeout or none is wanted", value);
	return 0;
}

/* name=value */
static int option_with_value(const struct parser *parser, const char *name, const char *value)
{
	struct mount_options *options = parser->options;
	unsigned long n = 0;
	int r;

	if (strcmp(name, "token-file") == 0)
		return text(parser, name, value, &options->token_file);
	if (strcmp(name, "alive") == 0)
		return text(parser, name, value, &options->alive);
	if (strcmp(name, "fsname") == 0)
		return text(parser, name, value, &options->fsname);
	if (strcmp(name, "permissions") == 0)
		return choice(parser, name, value, "guest", "host", &options->permissions_host);
	if (strcmp(name, "owner") == 0)
		return choice(parser, name, value, "view", "host", &options->owner_host);
	if (strcmp(name, "cache") == 0)
		return cache(parser, value);
	if (strcmp(name, "io_uring") == 0)
		return choice(parser, name, value, "no", "auto", &options->uring);
	if (strcmp(name, "uid") == 0 || strcmp(name, "gid") == 0) {
		r = number(parser, name, value, 0, UINT32_MAX - 1UL, &n);
		*(name[0] == 'u' ? &options->uid : &options->gid) = (uint32_t) n;
		return r;
	}
	if (strcmp(name, "timeout") == 0) {
		r = number(parser, name, value, 1, 3600, &n);
		options->timeout_s = (int) n;
		return r;
	}
	if (strcmp(name, "lanes") == 0) {
		r = number(parser, name, value, 2, MOUNT_OPTIONS_LANES, &n);
		options->lanes = (unsigned) n;
		return r;
	}
	if (strcmp(name, "listings") == 0) {
		r = number(parser, name, value, 0, LISTINGS_MIB, &n);
		options->listings_mib = (unsigned) n;
		return r;
	}
	if (strcmp(name, "comment") == 0)
		return 0;
	return fail(parser, "unknown option %s=%s; bindshare-mount(8) lists those that there are", name, value);
}

struct flag {
	const char *name;
	uint64_t set, clear; /* of attributes */
};

#define ATIME_ALL (MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)

/* Also options that mount(8) and systemd handle themselves, and pass on from fstab. */
static const struct flag flags[] = {
	{ "nosuid", MOUNT_ATTR_NOSUID, 0 },
	{ "suid", 0, MOUNT_ATTR_NOSUID },
	{ "nodev", MOUNT_ATTR_NODEV, 0 },
	{ "dev", 0, MOUNT_ATTR_NODEV },
	{ "noexec", MOUNT_ATTR_NOEXEC, 0 },
	{ "exec", 0, MOUNT_ATTR_NOEXEC },
	{ "noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
	{ "atime", 0, ATIME_ALL },
	{ "relatime", 0, MOUNT_ATTR__ATIME },
	{ "norelatime", 0, 0 },
	{ "strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "nostrictatime", 0, MOUNT_ATTR_STRICTATIME },
	{ "nodiratime", MOUNT_ATTR_NODIRATIME, 0 },
	{ "diratime", 0, MOUNT_ATTR_NODIRATIME },
	{ "async", 0, 0 },
	{ "defaults", 0, 0 },
	{ "_netdev", 0, 0 },
	{ "auto", 0, 0 },
	{ "noauto", 0, 0 },
	{ "nofail", 0, 0 },
	{ "nouser", 0, 0 },
	{ "nousers", 0, 0 },
	{ "nogroup", 0, 0 },
	{ "noowner", 0, 0 },
	{ "allow_other", 0, 0 }, /* has no effect: it is always so */
};

static int option_flag(const struct parser *parser, const char *name)
{
	struct mount_options *options = parser->options;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(name, flags[i].name) == 0) {
			options->attributes = (options->attributes & ~flags[i].clear) | flags[i].set;
			return 0;
		}
	if (strcmp(name, "ro") == 0)
		options->read_only = true;
	else if (strcmp(name, "rw") == 0)
		options->read_only = false;
	else if (strcmp(name, "sync") == 0)
		options->sync = true;
	else if (strcmp(name, "dirsync") == 0)
		options->dirsync = true;
	else if (strcmp(name, "nofollow") == 0)
		options->nofollow = true;
	else if (strcmp(name, "remount") == 0)
		return fail(parser, "option remount: use \"mount -o remount,...\" without bindshare-mount, or unmount "
		                    "and mount again");
	else if (strcmp(name, "user") == 0 || strcmp(name, "users") == 0)
		return fail(parser, "option %s: only root mounts with bindshare-mount", name);
	else
		return fail(parser, "unknown option %s; bindshare-mount(8) lists those that there are", name);
	return 0;
}

/* One option. Those for other programs begin with x- or X-. */
static int option_apply(const struct parser *parser, char *option)
{
	char *value = strchr(option, '=');

	if (*option == '\0' || strncmp(option, "x-", 2) == 0 || strncmp(option, "X-", 2) == 0)
		return 0;
	if (value == NULL)
		return option_flag(parser, option);
	*value = '\0';
	return option_with_value(parser, option, value + 1);
}

/* The list after -o. A backslash before a comma or a backslash takes away its meaning. */
static int options_list(const struct parser *parser, const char *list)
{
	_cleanup_free_ char *option = malloc(strlen(list) + 1);
	size_t length = 0;

	if (option == NULL)
		return -ENOMEM;
	for (const char *c = list;; c++) {
		if (*c == ',' || *c == '\0') {
			int r;

			option[length] = '\0';
			r = option_apply(parser, option);
			if (r < 0 || *c == '\0')
				return r;
			length = 0;
			continue;
		}
		if (*c == '\\' && (c[1] == ',' || c[1] == '\\'))
			c++;
		option[length++] = *c;
	}
}

static int operands(const struct parser *parser, int count, char **operand)
{
	struct mount_options *options = parser->options;
	int r;

	if (options->action == MOUNT_OPTIONS_STATS) {
		if (count != 1)
			return fail(parser, "--stats wants one mountpoint");
		options->mountpoint = operand[0];
		return 0;
	}
	if (options->json)
		return fail(parser, "--json goes with --stats");
	if (count != 2)
		return fail(parser, "usage: bindshare-mount ADDRESS:/host/path MOUNTPOINT [-f] [-v] [-o OPTION,...]");
	options->source = operand[0];
	options->mountpoint = operand[1];
	r = proto_address_split_source(options->source, &options->address, &options->path, parser->error,
	                               parser->error_size);
	/* Further connections are made later, from another working directory. */
	if (r == 0 && options->address.kind == PROTO_ADDRESS_UNIX && options->address.path[0] != '/')
		r = fail(parser, "%s: the path of the socket must be absolute", options->source);
	return r;
}

static bool called_by_mount(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strncmp(slash == NULL ? program : slash + 1, "mount.", 6) == 0;
}

enum { LONG_STATS = 256, LONG_JSON, LONG_HELP, LONG_VERSION };

static const struct option long_options[] = {
	{ "stats", no_argument, NULL, LONG_STATS },
	{ "json", no_argument, NULL, LONG_JSON },
	{ "help", no_argument, NULL, LONG_HELP },
	{ "version", no_argument, NULL, LONG_VERSION },
	{ 0 },
};

/* word: the argument at hand, for the message. */
static int switch_apply(const struct parser *parser, int option, const char *word)
{
	struct mount_options *options = parser->options;

	switch (option) {
	case 'o':
		return options_list(parser, optarg);
	case 'f':
		*(options->helper ? &options->fake : &options->foreground) = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case 's': /* sloppy, and -n: no mtab, as mount(8) passes them */
	case 'n':
	case 't':
		return 0;
	case LONG_STATS:
		options->action = MOUNT_OPTIONS_STATS;
		return 0;
	case LONG_JSON:
		options->json = true;
		return 0;
	case LONG_HELP:
		options->action = MOUNT_OPTIONS_HELP;
		return 0;
	case LONG_VERSION:
		options->action = MOUNT_OPTIONS_VERSION;
		return 0;
	case ':':
		return fail(parser, "-%c wants a value", optopt);
	default:
		return optopt != 0 ? fail(parser, "unknown switch -%c; see bindshare-mount --help", optopt)
		                   : fail(parser, "unknown switch %s; see bindshare-mount --help", word);
	}
}

int mount_options_parse(int argc, char **argv, struct mount_options *ret_options, char *error, size_t error_size)
{
	struct parser parser = { .options = ret_options, .error = error, .error_size = error_size };
	int option, r = 0;

	*ret_options = (struct mount_options){
		.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
		.timeout_s = MOUNT_OPTIONS_TIMEOUT_S,
		.lanes = MOUNT_OPTIONS_LANES,
		.listings_mib = MOUNT_OPTIONS_LISTINGS_MIB,
		.leases = true,
		.uring = true,
		.helper = argc > 0 && called_by_mount(argv[0]),
	};
	(void) snprintf(error, error_size, "out of memory");
	opterr = 0;
	optind = 0;
	while (r == 0 && (option = getopt_long(argc, argv, ":o:fvsnt:", long_options, NULL)) != -1)
		r = switch_apply(&parser, option, argv[optind - 1]);
	if (r == 0 && (ret_options->action == MOUNT_OPTIONS_HELP || ret_options->action == MOUNT_OPTIONS_VERSION))
		return 0;
	return r < 0 ? r : operands(&parser, argc - optind, argv + optind);
}

void mount_options_done(struct mount_options *options)
{
	free(options->token_file);
	free(options->alive);
	free(options->fsname);
	options->token_file = options->fsname = options->alive = NULL;
}
