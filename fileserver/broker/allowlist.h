/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directories of the host may be mounted, and which of them only for reading.
 *
 * An entry stands for the directory and all beneath it, by whole components of its path. Where entries overlap the most
 * restrictive wins: what lies in a read-only entry, or contains one, is mounted read-only; also where only the objects
 * tell, by another spelling or another mount.
 *
 * Symbolic links: an entry may lead through links as the user set them up. Beneath an outermost entry links were
 * possibly made by a guest; they are followed only as long as they stay within the outermost entries, and each step is
 * checked before the next is looked at, so that no answer tells of anything outside.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A directory, whatever its name. */
struct allowlist_object {
	dev_t device;
	ino_t ino;
};

struct allowlist_entry {
	char *path; /* absolute, no "." or "..", no slash at the end but for "/" */
	bool read_only;
	bool outermost; /* beneath no other entry */
	bool replaced;  /* something else lies at its path by now: nothing beneath it is served */

	/* As allowlist_add() found it. */
	char *canonical; /* NULL: it is not there */
	int error;       /* why it is not, or that it is no directory; else 0 */
	struct allowlist_object object;
	struct allowlist_object *above; /* of a read-only one: the directories that it lies in */
	size_t above_count;
};

struct allowlist {
	struct allowlist_entry *entries;
	size_t count;
};

/* What a path comes to. */
struct allowlist_match {
	char path[PATH_MAX]; /* canonical */
	bool read_only;
};

/* Without double slashes, "." and a slash at the end. 0, -EINVAL (not absolute, or with ".."), -ENAMETOOLONG. */
int allowlist_normalise(const char *path, char normal[PATH_MAX]);

/*
 * Adds an absolute path, and looks where it leads: a list is made anew when that may have changed. 0, -EINVAL (not
 * absolute, or with a component
 * ".."), -ENAMETOOLONG, -ENOMEM.
 */
int allowlist_add(struct allowlist *list, const char *path, bool read_only);
void allowlist_done(struct allowlist *list);

/*
 * Looks a directory up, by the path that a peer asks for: absolute, without "." and "..". 0; -EACCES: not beneath an
 * entry, be there such a path or not; -ESTALE: beneath one that was replaced; -ENOENT, -ENOTDIR: it should be beneath
 * an entry, and is not there, or no directory; -E2BIG: deeper than CANONICAL_DEPTH_MAX. What comes back is a path:
 * whoever opens it must refuse symbolic links.
 */
int allowlist_match(const struct allowlist *list, const char *path, struct allowlist_match *ret_match);
