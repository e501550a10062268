/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides the owner's own mode bits under permissions=guest. */
#include "fileserver/worker/host/lift.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocol/faults.h"

/* A thread's capabilities; glibc has no wrapper for capget(2). */
struct capabilities {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static bool capabilities_get(struct capabilities *ret_capabilities)
{
	*ret_capabilities = (struct capabilities){ .header = { .version = _LINUX_CAPABILITY_VERSION_3 } };
	return syscall(SYS_capget, &ret_capabilities->header, ret_capabilities->data) == 0;
}

/* Sets or clears CAP_DAC_OVERRIDE in the calling thread's effective set. */
static bool set_override(bool on)
{
	const uint32_t override = CAP_TO_MASK(CAP_DAC_OVERRIDE);
	struct capabilities capabilities;

	if (!capabilities_get(&capabilities))
		return false;
	if (on)
		capabilities.data[0].effective |= override;
	else
		capabilities.data[0].effective &= ~override;
	return syscall(SYS_capset, &capabilities.header, capabilities.data) == 0;
}

bool lift_possible(uid_t uid)
{
	struct capabilities capabilities;

	/* Mode bits do not stop root. */
	return uid != 0 && capabilities_get(&capabilities) &&
	       (capabilities.data[0].permitted & CAP_TO_MASK(CAP_DAC_OVERRIDE)) != 0;
}

/* Whether an object that was just removed has left the disk since, so that one more try makes sense. */
static bool room_comes(struct lift *lift, int result)
{
	if ((result != -ENOSPC && result != -EDQUOT) || lift->waited)
		return false;
	lift->waited = true;
	return nodes_wait_for_orphans(lift->session->nodes);
}

bool lift_again(struct lift *lift, int result)
{
	if (lift->lifted) {
		/* Dropping a capability cannot fail. */
		(void) set_override(false);
		return false;
	}
	if (room_comes(lift, result))
		return true;
	if (result != -EACCES || !lift->session->may_lift || session_is_read_only(lift->session))
		return false;
	if ((lift->session->config.flags & PROTO_HELLO_PERMISSIONS_HOST) != 0 && !lift->record)
		return false;
	lift->lifted = FAULT(WORKER_LIFT, set_override(true) ? 0 : -1) == 0;
	return lift->lifted;
}
