/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes an object the same object: device, inode number, and on file systems that keep it for good the time of
 * birth, so that a number that is used again is not taken for the old file.
 *
 * Not everywhere does a time of birth stay: overlayfs shows another one after the first write to a file of a lower
 * layer, network and user-space file systems show one at times and not at others. There it does not count.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/lock.h"

struct node_key {
	uint64_t device, ino;
	int64_t birth_seconds;
	uint32_t birth_nanoseconds;
	uint32_t subvolume; /* file systems whose snapshots share device and inode numbers */
};

enum { DEVICES_MAX = 64 };

/* The file systems that a session has met, by device number. */
struct devices {
	struct lock lock; /* adding */
	_Atomic uint32_t count;
	struct device {
		uint64_t number;
		bool birth_stays;
	} devices[DEVICES_MAX];
};

void devices_init(struct devices *devices);
void devices_done(struct devices *devices);
uint64_t devices_number(const struct statx *stx);
/*
 * Before an object is looked for or remembered: makes its file system known if it is not. fd: a descriptor of the
 * object, or, when name is set, of the directory that it is in. Where that fails no time of birth counts.
 */
void devices_meet(struct devices *devices, const struct statx *stx, int fd, const char *name);

/* What an object is known by. */
void identity_key(struct devices *devices, const struct statx *stx, struct node_key *ret_key);
