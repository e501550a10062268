/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Docker authorization plugin: refuses a bind of what is not shared before dockerd makes an empty directory of it.
 * It asks guestd's request socket as the runtime does, so that both decide alike. Its connections have threads of their
 * own.
 *
 * It is a part of guestd, or a process of its own (bindshare-guestd --plugin) to which the service manager gives the
 * socket: then dockerd, which asks it about each request, is answered whatever guestd does.
 */
#pragma once

#include "guest-fuse/binds/config.h"

struct plugin;

struct plugin_options {
	const struct guest_config *config; /* NULL: config_file, read when it is needed. Each must outlive the plugin */
	const char *config_file;
	const char *path; /* of the socket that is made, when fd is none */
	int fd;           /* a socket that listens, taken */
};

/* 0, or a negative errno and words; -EADDRINUSE: another plugin listens at path. */
int plugin_start(const struct plugin_options *options, struct plugin **ret_plugin, char *error, size_t error_size);
/* Ends its connections; NULL is nothing. */
void plugin_stop(struct plugin *plugin);

/* The process of its own, until a signal. path: where to listen without a service manager, or NULL. Errors as above. */
int plugin_run(const char *config_file, const char *path, char *error, size_t error_size);
