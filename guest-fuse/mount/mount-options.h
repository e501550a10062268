/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bindshare-mount, as people and as mount(8) write it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/address.h"

enum { MOUNT_OPTIONS_TIMEOUT_S = 30, MOUNT_OPTIONS_LANES = 64, MOUNT_OPTIONS_LISTINGS_MIB = 16 };

struct mount_options {
	enum { MOUNT_OPTIONS_MOUNT, MOUNT_OPTIONS_STATS, MOUNT_OPTIONS_HELP, MOUNT_OPTIONS_VERSION } action;
	const char *source; /* as given: what /proc/mounts shows unless fsname= says otherwise */
	struct proto_address address;
	const char *path; /* of the host, in source */
	const char *mountpoint;
	char *token_file; /* NULL: none */
	char *fsname;     /* NULL: the source */
	char *alive;      /* NULL, or a FIFO: held open for writing as long as the session lasts */
	bool helper;      /* called by mount(8): its exit codes, and -f does everything but mount */
	bool foreground, fake, verbose, json;
	bool read_only, sync, dirsync;
	bool nofollow; /* the mountpoint must lead through no symbolic link */
	bool permissions_host, owner_host, no_cache, leases;
	bool uring;            /* FUSE over io_uring where the kernel has it */
	uint64_t attributes;   /* MOUNT_ATTR_*, see fsmount(2) */
	uint32_t uid, gid;     /* owner that files of the serving user appear with */
	int timeout_s;         /* silence after which the server is declared gone, 1 to 3600 */
	unsigned lanes;        /* data lanes at most, 2 to 64 */
	unsigned listings_mib; /* memory for directories that are fetched whole, 0 to 4096 */
};

/*
 * Fills options from a command line. 0, or -EINVAL and a message in error. Strings of argv must outlive options;
 * * mount_options_done() frees the others, also after an error.
 */
int mount_options_parse(int argc, char **argv, struct mount_options *ret_options, char *error, size_t error_size);
void mount_options_done(struct mount_options *options);
