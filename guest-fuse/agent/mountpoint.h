/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guestd does to the guest's file system for one share: directories, the mount, the bind at the identical path,
 * and the undoing of all that. Every function may block, and runs in a thread of libuv's pool.
 */
#pragma once

#include <limits.h>

#include "guest-fuse/agent/made.h"
#include "guest-fuse/agent/share-list.h"
#include "guest-fuse/binds/config.h"

enum { MOUNTPOINT_ERROR_SIZE = 2048 };

/* The mountpoint of one share in the guest. Its strings are owned by it. */
struct mountpoint {
	const struct guest_config *config;
	char *path;             /* on the host */
	char *source;           /* ADDRESS:PATH */
	char *options;          /* of bindshare-mount */
	char *mount;            /* beneath the root */
	char *apart;            /* in its stead, where a symbolic link of the host is on the way to mount */
	char *alive;            /* the FIFO that tells whether the mount lives */
	bool covered;           /* mount lies in another share's mount, which has the directory */
	bool identical_covered; /* and so does the identical path */

	/* Out. */
	int fd;           /* the FIFO's end for reading; -EBADF: there is no mount */
	bool is_apart;    /* mounted at apart, not at mount */
	bool identical;   /* mounted at path, too */
	bool adopted;     /* it was there */
	struct made made; /* for it, in the guest */
	char error[MOUNTPOINT_ERROR_SIZE];
};

/*
 * Where and how a share is to be mounted; of what mountpoint had, made is kept. mountpoint: all zero but fd, -EBADF, or
 * as an earlier call left it. 0; -ENOMEM: it is as it was.
 */
int mountpoint_set(struct mountpoint *mountpoint, const struct guest_config *config, const char *address,
                   const char *root, const struct share_list_entry *share);
/* Makes it, or takes a living one that is there. 0, or a negative errno and words in error. */
int mountpoint_make(struct mountpoint *mountpoint);
/* Unmounts, lazily where it is busy; removes the directories that were made, as far as they are empty. */
void mountpoint_undo(struct mountpoint *mountpoint);
void mountpoint_done(struct mountpoint *mountpoint);

/* True: somebody holds the FIFO for writing. */
bool mountpoint_is_alive(int fd);
