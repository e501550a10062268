/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of an object: device, inode number and, on file systems that keep it for good, time of birth, so that a
 * reused inode number is not taken for the old file.
 *
 * The time of birth does not stay everywhere: overlayfs shows another one after the first write to a file of a lower
 * layer; network and user-space file systems show one only at times. There it does not count.
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
	uint32_t subvolume; /* for file systems whose snapshots share device and inode numbers */
};

enum { DEVICES_MAX = 64 };

/* The file systems that a session has met, by device number. */
struct devices {
	struct lock lock; /* guards adding */
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
 * Learns about the object's file system, once; to be called before the object's identity is used. fd: a descriptor of
 * the object, or, when name is set, of its directory. When that fails, times of birth do not count there.
 */
void devices_meet(struct devices *devices, const struct statx *stx, int fd, const char *name);

/* The identity of the object that stx describes. */
void identity_key(struct devices *devices, const struct statx *stx, struct node_key *ret_key);
