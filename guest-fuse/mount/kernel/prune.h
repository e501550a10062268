/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel forget objects that it does not use, before they are more than the server keeps for a session. Else
 * the server would forget some by itself, and the next request for each of them would fail once with ESTALE.
 *
 * Since Linux 6.18 there is a message for it (FUSE_NOTIFY_PRUNE). Before, the entry of a name is invalidated. That is
 * done only with files that are not open: with a directory it would take it from those who work in it, and unmount what
 * is mounted there.
 */
#pragma once

struct client;

/* The notifier's thread. */
void prune(struct client *client);
