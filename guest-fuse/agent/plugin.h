/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Docker authorization plugin: refuses a bind of what is not shared before dockerd makes an empty directory of it.
 * It asks guestd's request socket as the runtime does, so that both decide alike. Its connections have threads of their
 * own.
 */
#pragma once

#include "guest-fuse/binds/config.h"

struct plugin;

/* Listens at config->plugin_socket; config must outlive it. 0, or a negative errno and words. */
int plugin_start(const struct guest_config *config, struct plugin **ret_plugin, char *error, size_t error_size);
/* Ends its connections; NULL is nothing. */
void plugin_stop(struct plugin *plugin);
