/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bindshare-fileserver. */
#pragma once

#include <stdbool.h>

#include "fileserver/broker/admission.h"
#include "fileserver/common/handover.h"

enum { OPTIONS_SHARES_MAX = 1024 };

struct options_share {
	const char *path; /* in the memory of argv */
	bool read_only;
};

struct options {
	const char *listen_text, *settings, *admin_settings, *token_file, *control, *log_file;
	struct proto_address listen;
	struct options_share shares[OPTIONS_SHARES_MAX];
	size_t share_count;
	uint32_t cids[ADMISSION_CIDS_MAX];
	size_t cid_count;
	bool allow_root;
	int ready_fd; /* -1: none */
	enum log_level log_level;
	enum log_format log_format;
	struct worker_config limits; /* of each worker; session, flags and ids unused */
};

/*
 * Reads the command line; changes argv's texts. Returns -1 when the server is to run, else the exit code: 0 after
 * --help or --version, EX_USAGE after a message on stderr.
 */
int options_parse(int argc, char **argv, struct options *ret_options);
