/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's configuration, /etc/bindshare/guest.json: where the file server is, and what of the guest is its own.
 * bindshare-guest.json(5) tells of each key.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "protocol/address.h"

#define GUEST_CONFIG_PATH "/etc/bindshare/guest.json"

struct guest_config {
	char *address_text;
	struct proto_address address;
	char *token_file;     /* NULL: none */
	char *root;           /* shares are mounted beneath it; normal form */
	bool identical_paths; /* and at their own paths, where the guest has nothing */
	char **guest_paths;   /* the guest's own, with all beneath them; normal form, closed by NULL */
	char *runtime;        /* path of runc or crun; NULL: to be looked for */
	unsigned wait_ms;     /* how long a container waits for its shares, 0 to 600000 */
	char *run_directory;  /* sockets and records */
	char *plugin_socket;  /* NULL: no authorization plugin */
	char *runtime_name;   /* of bindshare-runtime in the engine's configuration */
	char *mount_options;  /* further ones for bindshare-mount; "" for none */
};

/*
 * Reads the file. 0 and what guest_config_done() frees; -EPERM: others may write it; -EINVAL: malformed, with a key
 * that is not known, or a value that is not allowed; or what open says; and words in error.
 */
int guest_config_read(const char *path, struct guest_config *ret_config, char *error, size_t error_size);
/* What holds without a file; the address is "". 0 or -ENOMEM. */
int guest_config_default(struct guest_config *ret_config);
void guest_config_done(struct guest_config *config);

/* The request socket of bindshare-guestd. 0; or -ENAMETOOLONG, the run directory's name is too long, and words. */
int guest_config_socket(const struct guest_config *config, char path[sizeof(((struct sockaddr_un *) 0)->sun_path)],
                        char *error, size_t error_size);

/*
 * The OCI runtime behind bindshare-runtime: the configured one, or the first of runc and crun in PATH. 0, -ENOENT:
 * there is none, or why the configured one, which is in path, cannot be run.
 */
int guest_config_runtime(const struct guest_config *config, char path[PATH_MAX]);
