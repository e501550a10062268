/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest was told of a file, in 32 bits, so that it can be found out later whether that has changed: for
 * changes that no watch tells of (another name of a hard link). A stamp is made of ctime, mtime, size, mode and number
 * of links. Of 2^32 changes one is not found; nor is one within the same tick of the clock as the change before it that
 * leaves size and links as they were (10 ms; not since Linux 6.13 on ext4, xfs, btrfs and tmpfs).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct node;
struct nodes;

/* The guest was told these attributes and may keep them. Any thread, without a lock. */
void stamps_keep(struct node *node, const struct statx *stx);
/* The stamp, 0: none. */
uint32_t stamps_of(const struct node *node);
/* Whether there is a stamp and the file, as it is in stx, has it. */
bool stamps_are_of(const struct node *node, const struct statx *stx);
/* Whether there is a stamp and the file, as it is now, does not have it any more. Then it has none from now on. */
bool stamps_differ(struct node *node, const struct statx *stx);
/* Another watch tells of changes, or the guest keeps nothing: there is no stamp any more, if it is still this one. */
void stamps_drop(struct node *node, uint32_t stamp);
/*
 * The session has changed the file itself, and the guest's kernel asks for its attributes again. What is found at the
 * next look counts as told, if the stamp is still the one from before the change.
 */
void stamps_own(struct node *node, uint32_t before);
/*
 * The session has renamed the file itself. The guest's kernel asks for nothing but ctime again, so the stamp goes on:
 * if it is that of before, and nothing else has changed.
 */
void stamps_renamed(struct node *node, const struct statx *before, const struct statx *after);

/*
 * A directory as the session's own last change of names in it has left it, and whether it is still so: then nobody else
 * has changed it meanwhile, but for what the stamp does not show. Any thread, without a lock.
 */
void stamps_leave(struct node *directory, const struct statx *stx);
bool stamps_are_left(const struct node *directory, const struct statx *stx);

/*
 * Looks again at files that have a stamp, a few of one directory, from *cursor on, which is 0 at first. Each that is
 * not as the guest was told, or that cannot be found any more, loses its stamp, and changed is called, without a lock.
 * Returns false at the end of the table. It takes no descriptor of the budget and leaves none open.
 */
typedef void stamps_changed(void *context, struct node *node);
bool stamps_look_again(struct nodes *nodes, uint32_t *cursor, stamps_changed *changed, void *context);
