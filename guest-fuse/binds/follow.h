/* SPDX-License-Identifier: Apache-2.0 */
/* What bindshare-runtime asks of bindshare-mount for a bind of a single file. */
#pragma once

#include <sys/ioctl.h>

/*
 * On a descriptor of a regular file of a mount: from now on the file follows its name. Whoever opens it where
 * it is bound gets what lies under the name then, so that a program that saves by renaming a new file over the old one
 * is seen. Descriptors that are open keep the file that they were opened with. The contents are read past the page
 * cache. It ends when the kernel forgets the file: a bind keeps it. Whoever may open the file may ask for it: the
 * kernel does not tell who that is (FUSE_ALLOW_IDMAP), and it gives nobody a file that he could not open by its name.
 *
 * 0; -1 and errno: ENOTTY (no file of bindshare-mount), ESTALE (it has no name), ENOMEM.
 */
#define BINDSHARE_IOC_FOLLOW _IO('b', 0x66)
