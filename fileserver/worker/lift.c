/* SPDX-License-Identifier: Apache-2.0 */
/* Getting past the owner's own mode bits, under permissions=guest. */
#include "fileserver/worker/lift.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fileserver/worker/resolve.h"
#include "protocol/faults.h"

_Static_assert((int) LIFT_MAX <= (int) SESSION_LIFTED_MAX, "room for what is shown of each");

/* What everybody is told of the object meanwhile. */
static void show(struct session *session, int i, const struct stat *st)
{
	pthread_mutex_lock(&session->lifted_lock);
	session->lifted[i] = (struct session_lifted){
		.device = st->st_dev,
		.ino = st->st_ino,
		.mode = st->st_mode & 07777,
		.used = true,
	};
	pthread_mutex_unlock(&session->lifted_lock);
}

static void end(struct session *session)
{
	pthread_mutex_lock(&session->lifted_lock);
	for (int i = 0; i < SESSION_LIFTED_MAX; i++)
		session->lifted[i].used = false;
	pthread_mutex_unlock(&session->lifted_lock);
	atomic_fetch_add(&session->lift_sequence, 1);
	pthread_mutex_unlock(&session->lift_lock);
}

/* Whether the bits of this one were in the way, and are lifted now. */
static bool lift_one(struct lift *lift, int i)
{
	char path[RESOLVE_PATH_SIZE];
	struct stat st;
	mode_t wanted;

	if (lift->fds[i] < 0 || fstat(lift->fds[i], &st) < 0 || st.st_uid != lift->session->uid)
		return false;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return false;
	wanted = S_ISDIR(st.st_mode) ? 0700 : 0600;
	if ((st.st_mode & wanted) == wanted)
		return false;
	show(lift->session, i, &st);
	if (FAULT(WORKER_CHMOD, chmod(resolve_path(lift->fds[i], path), (st.st_mode & 07777) | wanted)) < 0)
		return false;
	lift->modes[i] = st.st_mode & 07777;
	return true;
}

static void put_back(struct lift *lift)
{
	char path[RESOLVE_PATH_SIZE];

	for (int i = 0; i < LIFT_MAX; i++)
		if (lift->modes[i] != (mode_t) -1)
			(void) chmod(resolve_path(lift->fds[i], path), lift->modes[i]);
}

/* Room that something which was just removed still takes: worth one more try. */
static bool room_comes(struct lift *lift, int result)
{
	if ((result != -ENOSPC && result != -EDQUOT) || lift->waited)
		return false;
	lift->waited = true;
	return nodes_wait_for_orphans(lift->session->nodes);
}

bool lift_again(struct lift *lift, int result)
{
	if (!lift->lifted && room_comes(lift, result))
		return true;
	if (lift->lifted) {
		put_back(lift);
		end(lift->session);
		return false;
	}
	if (result != -EACCES || ((lift->session->config.flags & PROTO_HELLO_PERMISSIONS_HOST) != 0 && !lift->record))
		return false;
	pthread_mutex_lock(&lift->session->lift_lock);
	atomic_fetch_add(&lift->session->lift_sequence, 1);
	for (int i = 0; i < LIFT_MAX; i++)
		lift->lifted = lift_one(lift, i) || lift->lifted;
	if (!lift->lifted)
		end(lift->session);
	return lift->lifted;
}

bool lift_disturbed(struct session *session, uint64_t before, struct statx *stx)
{
	uint64_t now = atomic_load(&session->lift_sequence);
	dev_t device = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	bool found = false;

	if (now == before && now % 2 == 0)
		return false;
	pthread_mutex_lock(&session->lifted_lock);
	for (int i = 0; i < SESSION_LIFTED_MAX && !found; i++) {
		const struct session_lifted *lifted = &session->lifted[i];

		found = lifted->used && lifted->ino == stx->stx_ino && lifted->device == device;
		if (found)
			stx->stx_mode = (uint16_t) ((stx->stx_mode & S_IFMT) | lifted->mode);
	}
	pthread_mutex_unlock(&session->lifted_lock);
	return !found && now != before;
}
