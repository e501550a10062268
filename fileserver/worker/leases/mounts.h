/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when the host mounts or unmounts something in the share: names lead elsewhere then, and no watched directory
 * says so. Other mounts of the machine (containers come and go) do not count. One thread.
 */
#pragma once

#include <stdbool.h>

struct mounts;

/* root: a descriptor of the share. 0 or a negative errno. */
int mounts_new(int root, struct mounts **ret_mounts);
void mounts_free(struct mounts *mounts);
/* For poll(2) with POLLPRI. */
int mounts_fd(const struct mounts *mounts);
/* After POLLPRI. True: mounts in the share have changed since the last call. */
bool mounts_changed(struct mounts *mounts);
