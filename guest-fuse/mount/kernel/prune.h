/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel forget what it does not use, when it knows more than the server may know for us: else the server
 * forgets by itself, and the next request for each of those is in vain.
 *
 * Linux 6.18 has a message for it (FUSE_NOTIFY_PRUNE). Before, the entry of a name is taken back; that is done with
 * files that are not open only, since it would hide a directory from those who work in it and unmount what is mounted
 * there.
 */
#pragma once

struct client;

/* The notifier's thread. */
void prune(struct client *client);
