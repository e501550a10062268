/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's mount: made, put in place, tuned, taken away. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "guest-fuse/mount/mount-options.h"

/*
 * Opens /dev/fuse and makes a mount over it that is not in place yet, by fsopen(2): every option is a string of its
 * own there, so that commas and backslashes in names mean nothing. 0 and two descriptors, or a negative errno and
 * words.
 */
int mounting_make(const struct mount_options *options, bool read_only, int *ret_device, int *ret_mount, char *error,
                  size_t error_size);
/* Puts it in place. 0 or a negative errno. */
int mounting_place(int mount, const char *mountpoint);
/* The root's file system: asks nobody but the kernel. */
int mounting_device_number(int mount, unsigned *ret_major, unsigned *ret_minor);
/* Read ahead more than INIT can ask for. 0 or a negative errno, which costs speed only. */
int mounting_tune(unsigned major, unsigned minor);
/* True: a mount of bindshare is on top at this absolute path without symbolic links. */
bool mounting_is_ours(const char *mountpoint);
