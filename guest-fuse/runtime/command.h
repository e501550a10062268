/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of an OCI runtime, as runc(8) and crun(1) take it, as far as it must be understood: which command it
 * is, for which container, with which bundle, and where errors are to be logged.
 */
#pragma once

#include <stdbool.h>

enum command_action { COMMAND_OTHER, COMMAND_CREATE, COMMAND_RUN, COMMAND_DELETE, COMMAND_SWEEP, COMMAND_VERSION };

struct command {
	enum command_action action;
	const char *config; /* --bindshare-config, or NULL */
	const char *id;     /* the container's; NULL: none was given */
	const char *bundle; /* default "." */
	const char *log;    /* NULL: none */
	bool log_json, detach;
	char **argv; /* for the runtime: the same without bindshare's own options, argv[0] free; points into the
	                caller's */
};

/* argv is changed: options of bindshare's own are taken out. 0, or -EINVAL and words on stderr. */
int command_parse(char **argv, struct command *ret_command);
