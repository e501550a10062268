/* SPDX-License-Identifier: Apache-2.0 */
/* What FUSE does not tell of the process that a request comes from. */
#include "guest-fuse/mount/kernel/caller.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/cleanup.h"

bool caller_has_capability(pid_t pid, int capability)
{
	static const char key[] = "\nCapEff:";
	char path[64], status[4096];
	_cleanup_close_ int fd = -EBADF;
	const char *line;
	ssize_t n;

	(void) snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	fd = pid <= 0 ? -EBADF : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, status, sizeof(status) - 1);
	status[n < 0 ? 0 : n] = '\0';
	line = strstr(status, key);
	return line != NULL && (strtoull(line + sizeof(key) - 1, NULL, 16) >> capability & 1) != 0;
}
