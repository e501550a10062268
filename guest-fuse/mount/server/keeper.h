/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread of a running mount: owns the event lane, sends the heartbeat, finds connections and servers that are
 * dead, and gives forgotten nodes back. What it does for the kernel's side and for whoever asks for statistics it is
 * given as functions.
 */
#pragma once

#include <stdbool.h>

#include "protocol/channel.h"

struct keeper;
struct pending;

/* data is the first argument of each; all but unmount are called by the keeper's thread, and must not block. */
struct keeper_duties {
	/* The mount is gone: keeper_run() returns. */
	bool (*is_over)(void *data);
	/* Looks after those who wait for an answer. In how many milliseconds again; 0: when something happens. */
	int (*serve_kernel)(void *data);
	/* Somebody waits at the listener for statistics. */
	void (*answer_statistics)(void *data);
	/* A signal asks for the end; from a thread of its own, since the kernel may have to write what is left. */
	void (*unmount)(void *data);
	void *data;
};

/*
 * Takes event, a connected channel, on success. signals: a signalfd. statistics: a listener, or negative. mountpoint:
 * for the log. 0, -ENOMEM, or -EPROTO: the server has sent more than it may so soon.
 */
int keeper_new(struct pending *pending, struct proto_channel *event, int signals, int statistics,
               const char *mountpoint, const struct keeper_duties *duties, struct keeper **ret_keeper);
void keeper_free(struct keeper *keeper);

/* Until the mount is gone or a signal ended it. */
void keeper_run(struct keeper *keeper);
/* The end: tells the server. */
void keeper_goodbye(struct keeper *keeper);
