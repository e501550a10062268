/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime of a user's own engine. */
#include "guest-fuse/runtime/rootless.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "guest-fuse/open.h"
#include "guest-fuse/runtime/complain.h"
#include "protocol/cleanup.h"

/* What the kernel shows for ids that the namespace has not. */
static unsigned nobody(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
	unsigned id;

	return file != NULL && fscanf(file, "%u", &id) == 1 ? id : 65534; /* NOLINT(cert-err34-c) */
}

/* The first namespace has every id, and each is itself. */
static bool is_namespace_of_its_own(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/uid_map", "re");
	unsigned inside, outside, count;

	if (file == NULL || fscanf(file, "%u %u %u", &inside, &outside, &count) != 3) /* NOLINT(cert-err34-c) */
		return false;
	return inside != 0 || outside != 0 || count != 4294967295U;
}

bool rootless_is_here(const char *config)
{
	struct stat st;

	return is_namespace_of_its_own() && stat(config, &st) == 0 && st.st_uid == nobody();
}

void rootless_warn(const struct command *command, const struct bundle *bundle)
{
	for (size_t i = 0; i < bundle->count; i++) {
		const char *source = bundle->binds[i].source;
		_cleanup_close_ int fd = open(source, O_PATH | O_CLOEXEC);
		struct stat st;

		if (fd < 0 || !open_is_shared(fd) || fstat(fd, &st) < 0 || st.st_uid != nobody())
			continue;
		complain(command, "warning",
		         "%s belongs to the guest's root, and to nobody (%u) in a container of a rootless engine: give "
		         "shares to the engine's user, with \"mountOptions\": \"uid=N,gid=N\" in the guest's "
		         "/etc/bindshare/guest.json",
		         source, nobody());
		return;
	}
}
