/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the host that people bind. A socket does not work through a shared directory. Where the guest has nothing
 * at the path of such a socket, an engine would make an empty directory there.
 */
#pragma once

#include <stdbool.h>

/* By its text alone, a normal path: what to do about it, as a sentence with a space before it; NULL: it is no socket's.
 */
const char *sockets_advice(const char *path);

/* A path of the guest's own that is a socket's by its name: the guest has nothing there, or a directory in its place.
 */
bool sockets_is_missing(const char *path);
