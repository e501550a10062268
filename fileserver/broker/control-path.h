/* SPDX-License-Identifier: Apache-2.0 */
/* Where the control socket is when nobody says; broker and bindsharectl agree on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * $XDG_RUNTIME_DIR/bindshare/control.sock. make: makes the directory, 0700. 0, -ENOENT when there is no
 * XDG_RUNTIME_DIR, -ENAMETOOLONG, or what mkdir says.
 */
int control_default_path(char *path, size_t size, bool make);
