/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread of a running mount. It owns the event lane, sends the heartbeat, finds connections and servers that
 * are dead, and gives forgotten nodes back. What it does for other parts is in struct keeper_duties.
 */
#pragma once

#include <stdbool.h>

#include "protocol/channel.h"

struct keeper;
struct pending;

/* data is the first argument of each. All but unmount are called by the keeper's thread and must not block. */
struct keeper_duties {
	/* True: the kernel has unmounted, and keeper_run() returns. */
	bool (*is_over)(void *data);
	/* Called after each wake-up. In how many milliseconds to call it again at the latest; 0: no limit. */
	int (*serve_kernel)(void *data);
	/* Somebody waits at the listener for statistics. */
	void (*answer_statistics)(void *data);
	/* What was told under a lease does not hold any more; server->acknowledged says when it was acted on. */
	void (*invalidate)(void *data, const struct proto_invalidate_request *request);
	/* A signal asked for the end. Runs in a thread of its own, since the kernel writes back before it returns. */
	void (*unmount)(void *data);
	void *data;
};

/*
 * event: the event lane's channel, taken on success. signals: a signalfd. statistics: a listener, or negative.
 * mountpoint: for the log. duties must outlive the process's threads. 0, -ENOMEM, or -EPROTO when the server has sent
 * more after its WELCOME than it may.
 */
int keeper_new(struct pending *pending, struct proto_channel *event, int signals, int statistics,
               const char *mountpoint, const struct keeper_duties *duties, struct keeper **ret_keeper);
void keeper_free(struct keeper *keeper);

/* Returns when the mount is gone, or some time after a signal. */
void keeper_run(struct keeper *keeper);
/* Tells the server that the session ends. */
void keeper_goodbye(struct keeper *keeper);
