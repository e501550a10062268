/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overrides the owner's own mode bits under permissions=guest. There the guest's kernel has checked permissions
 * already, capabilities included, as on a native bind mount; so the server does whatever the host user could do with
 * files of his own. When only the owner's bits are in the way (git renames a 0444 file; rm -rf removes a module cache's
 * 0555 directory) the thread repeats the system call with CAP_DAC_OVERRIDE in the worker's own user namespace. That
 * counts only for files whose owner and group are the user's (capabilities(7), user_namespaces(7)). The file's mode and
 * ctime are not touched, so there is nothing to restore.
 *
 *	struct lift lift = LIFT_INIT(session);
 *	do
 *		r = mkdirat(...) < 0 ? -errno : 0;
 *	while (lift_again(&lift, r));
 *
 * lift_again() returns true at most once after -EACCES, with the capability effective for the calling thread; the next
 * call drops it and returns false. Never leave the loop any other way. It also returns true once after -ENOSPC or
 * -EDQUOT, when an object that the guest removed has left the disk meanwhile.
 *
 * Nothing is lifted on a read-only share, under permissions=host (except for records), or when the worker has no user
 * namespace of its own (sandbox.h).
 */
#pragma once

#include "fileserver/worker/session/session.h"

struct lift {
	struct session *session;
	bool lifted;
	bool waited; /* the wait for the room of removed objects was tried */
	bool record; /* for a record or fsync, which are the server's own: also under permissions=host */
};

#define LIFT_INIT(session_)                                                                                            \
	{                                                                                                              \
		.session = (session_)                                                                                  \
	}

/* Whether a session of this user may lift: the capability is permitted. */
bool lift_possible(uid_t uid);
bool lift_again(struct lift *lift, int result);
