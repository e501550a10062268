/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that ends the kernel's side of the mount when this process dies. The kernel does that itself when the last
 * descriptor of /dev/fuse is closed, which never happens while a thread of the dead process waits in the kernel for
 * somebody who waits for this file system: one that tells of a changed name waits for the directory's lock, which a
 * program may hold that makes a file there. Then all who use the mount would hang for ever.
 */
#pragma once

/*
 * Called by the first thread, before there are others; minor: of the mount's device number. The process holds nothing
 * but the way to end this mount, and ends with the thread that called. 0 or a negative errno: there is none.
 */
int watchdog_start(unsigned minor);
