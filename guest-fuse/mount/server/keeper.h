/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread of a running mount: owns the event lane, sends the heartbeat, finds lanes and servers that are dead,
 * lets processes die that are stuck, gives forgotten nodes back, answers --stats and takes signals.
 */
#pragma once

#include "guest-fuse/mount/client.h"

struct keeper;

/* Takes event, a connected channel, on success. signals: a signalfd. statistics: a listener, or negative. */
int keeper_new(struct client *client, struct proto_channel *event, int signals, int statistics, const char *mountpoint,
               struct keeper **ret_keeper);
void keeper_free(struct keeper *keeper);

/* Until the mount is gone or a signal ended it. */
void keeper_run(struct keeper *keeper);
/* The end: tells the server. */
void keeper_goodbye(struct keeper *keeper);
