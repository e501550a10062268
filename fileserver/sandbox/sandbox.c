/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's sandbox. */
#include "fileserver/sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fileserver/sandbox/own-files.h"
#include "protocol/number.h"

static bool is_expected(int fd, const int *expected, size_t count)
{
	if (fd <= STDERR_FILENO)
		return true;
	for (size_t i = 0; i < count; i++)
		if (expected[i] == fd)
			return true;
	return false;
}

static int audit_descriptors(const int *expected, size_t count)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t found = 0;
	bool foreign = false;
	struct dirent *entry;

	if (directory == NULL)
		return -errno;
	while ((entry = readdir(directory)) != NULL) {
		uint64_t fd;

		/* "." and ".." are no numbers. */
		if (number_parse(entry->d_name, 0, INT_MAX, &fd) < 0 || (int) fd == dirfd(directory))
			continue;
		if (!is_expected((int) fd, expected, count))
			foreign = true;
		else if (fd > STDERR_FILENO)
			found++;
	}
	closedir(directory);
	return foreign || found != count ? -EBADFD : 0;
}

static int set_limits(void)
{
	struct rlimit files, none = { 0, 0 };

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return 0;
}

int sandbox_enter(const int *expected, size_t count, bool own_files)
{
	int r = audit_descriptors(expected, count);

	if (r < 0)
		return r;
	r = own_files_enter(own_files);
	if (r < 0)
		return r;
	/*
	 * A write beyond RLIMIT_FSIZE must be an error for the guest, not the worker's death; so must a peer that is
	 * gone. SIGIO tells whoever holds a lease of fcntl(2), which the worker does for moments, that another opens.
	 */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGIO, SIG_IGN) == SIG_ERR)
		return -errno;
	r = set_limits();
	if (r < 0)
		return r;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
#ifndef __SANITIZE_ADDRESS__ /* the leak check at exit uses ptrace(2) */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
#endif
	return 0;
}
