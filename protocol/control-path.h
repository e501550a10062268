/* SPDX-License-Identifier: Apache-2.0 */
/* The server's runtime directory, and the control socket in it when nobody says where; broker and bindsharectl agree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * RUNTIME/control.sock, where RUNTIME is $XDG_RUNTIME_DIR/bindshare; without that variable /run/user/UID/bindshare, and
 * where there is no such directory of the user either, /tmp/bindshare-UID. make: see control_path_make_directory(). 0;
 * -EPERM: somebody else has the directory; -ENAMETOOLONG; or what mkdir says. Except for -ENAMETOOLONG there is a path.
 */
int control_path_default(char *path, size_t size, bool make);

/*
 * When a socket at this path would lie in the runtime directory itself, makes that, or closes it to others if it is the
 * user's own: mode 0700. 0 or a negative errno, as above.
 */
int control_path_make_directory(const char *path);

/* Why the runtime directory cannot be had, for the error of one of these: "its directory ...". */
const char *control_path_words(int error);
