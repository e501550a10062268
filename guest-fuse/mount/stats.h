/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of a running mount: how many requests of each kind the kernel has sent, and how many messages the server
 * was sent. Root reads them from a socket, /run/bindshare/mounts/MAJOR:MINOR.sock, named after the device number of the
 * mount's file system.
 */
#pragma once

#include <stdbool.h>

enum { STATS_PATH_SIZE = 108 };

struct client;

/*
 * {"fuse": {"lookup": 1, ...}, "rpc": {"lookup": 1, ...}, "lanes": 2, "nodes": 1, "missing": 0, "listed": 0, "leases":
 * true}; free() it. nodes: objects that the kernel knows; missing: names that it knows not to exist, without a time
 * limit; listed: entries of directories that were fetched whole; leases: were asked for. NULL: no memory.
 */
char *stats_json(struct client *client);

/* The socket's path for the file system with that device number. */
void stats_path(unsigned major, unsigned minor, char path[STATS_PATH_SIZE]);
/* Listens there, for root only. A descriptor (close-on-exec, non-blocking) or a negative errno. */
int stats_listen(const char *path);
/* The keeper: answers whoever waits at the socket. Never blocks. */
void stats_answer(int listener, struct client *client);

/* bindshare-mount --stats MOUNTPOINT [--json]. Returns the exit code. */
int stats_show(const char *mountpoint, bool json);
