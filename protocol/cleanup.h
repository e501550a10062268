/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes and the transfer of ownership, after systemd's CODING_STYLE. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Closes fd unless it is negative; keeps errno. Returns -EBADF, so that "fd = close_fd(fd)" resets the variable. */
static inline int close_fd(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		(void) close(fd);
		errno = saved;
	}
	return -EBADF;
}

static inline void cleanup_close(int *fd)
{
	*fd = close_fd(*fd);
}

static inline void cleanup_free(void *pointer)
{
	free(*(void **) pointer);
}

static inline void cleanup_fclose(FILE **file)
{
	if (*file != NULL)
		(void) fclose(*file);
}

#define _cleanup_close_  __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_   __attribute__((cleanup(cleanup_free)))
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose)))

/* Takes a descriptor out of a variable with a cleanup attribute. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -EBADF;
	return taken;
}
#define TAKE_FD(fd) take_fd(&(fd))

/* The same for a pointer. */
#define TAKE_PTR(pointer)                                                                                              \
	({                                                                                                             \
		__typeof__(pointer) taken_pointer_ = (pointer);                                                        \
		(pointer) = NULL;                                                                                      \
		taken_pointer_;                                                                                        \
	})

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
