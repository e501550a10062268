/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting past the owner's own mode bits, under permissions=guest: there the guest's kernel has already decided,
 * capabilities included, as on a native bind mount; so the server does whatever the host user could do with files of
 * his own. Where only the owner's bits stand in the way (a 0444 file that git renames, a 0555 directory of a module
 * cache under rm -rf) the thread takes the call again with CAP_DAC_OVERRIDE of the worker's own user namespace, which
 * counts for files whose owner and group are the user's and for no others (capabilities(7), user_namespaces(7)). The
 * file itself is not touched: its mode and ctime stay, and there is nothing to put back.
 *
 *	struct lift lift = LIFT_INIT(session);
 *	do
 *		r = mkdirat(...) < 0 ? -errno : 0;
 *	while (lift_again(&lift, r));
 *
 * lift_again() returns true at most once after -EACCES, with the capability in force for the calling thread; the next
 * call takes it back and returns false. Never leave the loop another way. It also returns true once after -ENOSPC or
 * -EDQUOT, when something that the guest removed before has left the disk meanwhile.
 *
 * Nothing is lifted on a read-only share, under permissions=host but for records, or where the worker has no namespace
 * of its own (sandbox.h).
 */
#pragma once

#include "fileserver/worker/session/session.h"

struct lift {
	struct session *session;
	bool lifted;
	bool waited; /* for room that something removed still took */
	bool record; /* the server's own business, a record or fsync: under permissions=host, too */
};

#define LIFT_INIT(session_)                                                                                            \
	{                                                                                                              \
		.session = (session_)                                                                                  \
	}

/* Whether a session of a user with this id may lift: the capability is at hand. */
bool lift_possible(uid_t uid);
bool lift_again(struct lift *lift, int result);
