/* SPDX-License-Identifier: Apache-2.0 */
/* Where the control socket is. */
#include "fileserver/broker/control-path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int control_default_path(char *path, size_t size, bool make)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char directory[128];
	int length;

	if (runtime == NULL || runtime[0] != '/')
		return -ENOENT;
	length = snprintf(directory, sizeof(directory), "%s/bindshare", runtime);
	if (length < 0 || (size_t) length >= sizeof(directory) ||
	    snprintf(path, size, "%s/control.sock", directory) >= (int) size)
		return -ENAMETOOLONG;
	if (make && mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}
