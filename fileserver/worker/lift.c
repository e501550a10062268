/* SPDX-License-Identifier: Apache-2.0 */
/* Getting past the owner's own mode bits, under permissions=guest. */
#include "fileserver/worker/lift.h"

#include <errno.h>
#include <sys/stat.h>

#include "fileserver/worker/resolve.h"

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
	if (chmod(resolve_path(lift->fds[i], path), (st.st_mode & 07777) | wanted) < 0)
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

bool lift_again(struct lift *lift, int result)
{
	if (lift->lifted) {
		put_back(lift);
		pthread_mutex_unlock(&lift->session->lift_lock);
		return false;
	}
	if (result != -EACCES || (lift->session->config.flags & PROTO_HELLO_PERMISSIONS_HOST) != 0)
		return false;
	pthread_mutex_lock(&lift->session->lift_lock);
	for (int i = 0; i < LIFT_MAX; i++)
		lift->lifted = lift_one(lift, i) || lift->lifted;
	if (!lift->lifted)
		pthread_mutex_unlock(&lift->session->lift_lock);
	return lift->lifted;
}
