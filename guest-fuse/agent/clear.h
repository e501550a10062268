/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bindshare-guestd --unmount, what mounts.h does not know of: clones that containers were handed, mounts of shares that
 * no record tells of, and the run directory's own files. What can hold a mount is unmounted and then removed by rmdir,
 * which takes nothing that has anything in it.
 */
#pragma once

#include "guest-fuse/binds/config.h"

/* 0; or -EBUSY after a message: something is mounted there still, or it cannot be found out. */
int clear_run_directory(const struct guest_config *config);
