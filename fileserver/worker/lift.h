/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting past the owner's own mode bits, under permissions=guest: there the guest's kernel has already decided,
 * capabilities included, as on a native bind mount; so the server does whatever the host user could do with files of
 * his own. Where only the owner's bits stand in the way (a 0444 file that git renames, a 0555 directory of a module
 * cache under rm -rf) they are lifted for the moment of the call and put back. Nobody but the owner gains by that.
 *
 *	struct lift lift = LIFT_INIT(session, directory_fd, -1);
 *	do
 *		r = mkdirat(...) < 0 ? -errno : 0;
 *	while (lift_again(&lift, r));
 *
 * lift_again() returns true at most once after -EACCES, with the bits lifted and session->lift_lock held; the next
 * call puts them back, lets the lock go and returns false. Never leave the loop another way. It also returns true once
 * after -ENOSPC or -EDQUOT, when something that the guest removed before has left the disk meanwhile.
 */
#pragma once

#include "fileserver/worker/session.h"

enum { LIFT_MAX = 4 };

struct lift {
	struct session *session;
	int fds[LIFT_MAX];      /* O_PATH descriptors of what the call goes through, -1 for none */
	mode_t modes[LIFT_MAX]; /* to put back; (mode_t) -1: not lifted */
	bool lifted;
	bool waited; /* for room that something removed still took */
	bool record; /* the call is about a record, which the owner may change whatever his bits: permissions=host, too
	              */
};

#define LIFT_INIT(session_, fd, fd_or_none)                                                                            \
	{                                                                                                              \
		.session = (session_), .fds = { (fd), (fd_or_none), -1, -1 },                                          \
		.modes = { (mode_t) -1, (mode_t) -1, (mode_t) -1, (mode_t) -1 },                                       \
	}

bool lift_again(struct lift *lift, int result);

/*
 * Others must not see the lifted bits, and the guest's kernel must not keep them for a second. before: what
 * session->lift_sequence was before stx was read. Puts the true mode into stx; true: nothing is certain, read again.
 */
bool lift_disturbed(struct session *session, uint64_t before, struct statx *stx);
