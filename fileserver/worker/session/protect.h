/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server is steered by is not changed through a share: settings, policy, token, log, programs, the control
 * socket's directory, the units of the service manager. The broker makes the list (common/protect-list.h), every worker
 * has all of it, and the gate here is asked before each operation's handler.
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
	_Atomic bool secrets; /* something is kept back from readers, too */
	/* Called, at most once a second, when a guest tried to change something of this subject. */
	void (*refused)(void *context, uint32_t subject);
	void *context;
	_Atomic int64_t told_at;
};

struct node;
struct nodes;

void protect_init(struct protect *protect, struct nodes *nodes);
void protect_done(struct protect *protect);
/* Takes the list in fd, which stays the caller's, in place of the one before. 0 or a negative errno. */
int protect_take(struct protect *protect, int fd);

/*
 * The gate's questions (gate.h), each 0 or -EPERM: whether a node, which may be a file that is about to be opened for
 * it, may be changed, its permissions too; what was opened before; and a name in a directory made, taken away,
 * replaced.
 */
int protect_change(struct protect *protect, const struct node *node, bool permissions);
int protect_handle(struct protect *protect, const struct node *node);
int protect_name(struct protect *protect, const struct node *directory, const char *name);
/* Whether a node may be opened for reading (-EPERM), a name looked up (-ENOENT: it is kept back that it is there). */
int protect_reading(struct protect *protect, const struct node *node);
int protect_lookup(struct protect *protect, const struct node *directory, const char *name);
/* The same as protect_change() for an object that was only found beneath the gate: a name that is opened by CREATE. */
int protect_object(struct protect *protect, dev_t device, ino_t ino);
/* Whether a directory's listing leaves a name out. */
bool protect_hides(struct protect *protect, const struct node *directory, const char *name);
