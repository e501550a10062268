/* SPDX-License-Identifier: Apache-2.0 */
/* What bindshare-runtime asks of bindshare-mount for a bind of a single file. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

enum { FILE_BIND_SECRET_SIZE = 32, FILE_BIND_PATH_SIZE = 108 };

struct file_bind_argument {
	uint8_t secret[FILE_BIND_SECRET_SIZE];
};

/*
 * On a descriptor of a regular file of a mount: from now on the file follows its name. Whoever opens it where
 * it is bound gets what lies under the name then, so that a program that saves by renaming a new file over the old one
 * is seen. Descriptors that are open keep the file that they were opened with. The contents are read past the page
 * cache. It ends when the kernel forgets the file: a bind keeps it.
 *
 * Only the guest's root may ask: the argument is what lies in the mount's file at file_bind_secret_path(), which root
 * alone can read. The kernel does not tell who asks (FUSE_ALLOW_IDMAP).
 *
 * 0; -1 and errno: ENOTTY (no file of bindshare-mount), EPERM (another secret), ESTALE (it has no name), ENOMEM.
 */
#define BINDSHARE_IOC_FILE_BIND _IOW('b', 0x66, struct file_bind_argument)

/* Of the mount with this device number. */
static inline void file_bind_secret_path(unsigned major, unsigned minor, char path[FILE_BIND_PATH_SIZE])
{
	(void) snprintf(path, FILE_BIND_PATH_SIZE, "/run/bindshare/mounts/%u:%u.secret", major, minor);
}
