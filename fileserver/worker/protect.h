/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server is steered by is not changed through a share: settings, policy, token, log, programs, the control
 * socket's directory, the units of the service manager. The broker makes the list (common/protect-list.h), every worker
 * has all of it, and the gate here is asked before each operation's handler.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fileserver/common/protect-list.h"

struct protect {
	pthread_rwlock_t lock;
	const struct protect_entry *entries;
	size_t count;
	_Atomic bool secrets; /* something is kept back from readers, too */
	/* Called, at most once a second, when a guest tried to change something of this subject. */
	void (*refused)(void *context, uint32_t subject);
	void *context;
	_Atomic int64_t told_at;
};

struct session;
struct node;

void protect_init(struct protect *protect);
void protect_done(struct protect *protect);
/* Takes the list in fd, which stays the caller's, in place of the one before. 0 or a negative errno. */
int protect_take(struct protect *protect, int fd);

/* The gate: 0; -EPERM, or -ENOENT where even that it is there is kept back. request: of this operation, decoded. */
int protect_permit(struct session *session, unsigned op, const void *request);
/* The same for an object that was only found beneath the gate: a name that is opened by CREATE. */
int protect_permit_object(struct session *session, dev_t device, ino_t ino);
/* Whether a directory's listing leaves a name out. */
bool protect_hides(struct session *session, const struct node *directory, const char *name);
