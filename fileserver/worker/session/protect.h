/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps guests from changing, through a share, what the server is steered by: settings, policy, token, log, programs,
 * the control socket's directory, the units of the service manager. The broker makes the list (common/protect-list.h),
 * every worker has all of it, and the gate asks here before each handler.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fileserver/common/protect-list.h"
#include "protocol/lock.h"

struct protect {
	struct nodes *nodes;
	struct lock_rw lock;
	const struct protect_entry *entries;
	size_t count;
	_Atomic bool secrets; /* an entry is secret: reading is checked, too */
	/* Called, at most once a second, when a guest tried to change what an entry of this subject protects. */
	void (*refused)(void *context, uint32_t subject);
	void *context;
	_Atomic int64_t told_at;
};

struct node;
struct nodes;

void protect_init(struct protect *protect, struct nodes *nodes);
void protect_done(struct protect *protect);
/* Replaces the list by the one in fd, which stays the caller's. Returns 0 or a negative errno. */
int protect_take(struct protect *protect, int fd);

/*
 * The gate's questions. Each returns 0 or -EPERM: whether a node may be changed, or opened for that (permissions: its
 * mode or owner changes); whether a node may be changed by a handle opened before; whether a name in a directory may be
 * made, removed or replaced.
 */
int protect_change(struct protect *protect, const struct node *node, bool permissions);
int protect_handle(struct protect *protect, const struct node *node);
int protect_name(struct protect *protect, const struct node *directory, const char *name);
/* Whether a node may be opened for reading (-EPERM), and a name looked up (-ENOENT: its existence is hidden). */
int protect_reading(struct protect *protect, const struct node *node);
int protect_lookup(struct protect *protect, const struct node *directory, const char *name);
/* As protect_change() for an object that the handler finds only after the gate: an existing file that CREATE opens. */
int protect_object(struct protect *protect, dev_t device, ino_t ino);
/* Whether a listing of the directory must leave the name out. */
bool protect_hides(struct protect *protect, const struct node *directory, const char *name);
