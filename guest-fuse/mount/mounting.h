/* SPDX-License-Identifier: Apache-2.0 */
/* The mount in the kernel: making it, putting it in place, tuning it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "guest-fuse/mount/mount-options.h"

/*
 * Opens /dev/fuse and makes a mount of it that is not in place yet, by fsopen(2): there every option is a string of its
 * own, so that commas and backslashes in names have no meaning. 0 and two descriptors; or a negative errno, and error
 * says what failed.
 */
int mounting_make(const struct mount_options *options, bool read_only, int *ret_device, int *ret_mount, char *error,
                  size_t error_size);
/* Puts it in place. 0 or a negative errno. */
int mounting_place(int mount, const char *mountpoint);
/* The device number of the mount's root. Does not ask the server. 0 or a negative errno. */
int mounting_device_number(int mount, unsigned *ret_major, unsigned *ret_minor);
/* Sets a larger read-ahead than INIT can ask for. 0 or a negative errno, which costs speed only. */
int mounting_tune(unsigned major, unsigned minor);
/* True: the topmost mount at this path (absolute, without symbolic links) is one of bindshare. */
bool mounting_is_ours(const char *mountpoint);
