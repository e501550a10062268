/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that guestd makes in the guest for mounts to lie at, and removes again when it undoes them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { MADE_MAX = 64 };

/* In the order in which they were made. */
struct made {
	char *paths[MADE_MAX];
	size_t count;
};

/*
 * Goes down a normal path, makes the directories that are not there, and adds them. Nothing is made in a share. A
 * symbolic link on the way is the guest's own: -ELOOP. 0 or a negative errno; *ret_fd is the last directory, O_PATH.
 */
int made_directories(struct made *made, const char *path, int *ret_fd);
/* Removes those that were made since there were count of them, as far as they are empty and the guest's. */
void made_remove(struct made *made, size_t count);
/* Forgets them: they stay. */
void made_done(struct made *made);

bool made_is_empty(int directory);
