/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest's root, and nobody else, can show when it asks for a file bind. */
#include "guest-fuse/mount/kernel/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include "protocol/cleanup.h"

int secret_publish(struct secret *secret, unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = -EBADF;
	ssize_t n;

	randombytes_buf(secret->argument.secret, FILE_BIND_SECRET_SIZE);
	file_bind_secret_path(major, minor, secret->path);
	/* The number is this mount's alone: what lies there is from one that is gone. */
	(void) unlink(secret->path);
	fd = open(secret->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, secret->argument.secret, FILE_BIND_SECRET_SIZE);
	secret->published = n == FILE_BIND_SECRET_SIZE;
	return secret->published ? 0 : n < 0 ? -errno : -EIO;
}

void secret_withdraw(struct secret *secret)
{
	if (secret->published)
		(void) unlink(secret->path);
	secret->published = false;
}

bool secret_matches(const struct secret *secret, const struct file_bind_argument *argument)
{
	return secret->published &&
	       sodium_memcmp(secret->argument.secret, argument->secret, FILE_BIND_SECRET_SIZE) == 0;
}
