/* SPDX-License-Identifier: Apache-2.0 */
/* The server's runtime directory and the default path of the control socket; for broker and bindsharectl. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The default path: RUNTIME/control.sock. RUNTIME is $XDG_RUNTIME_DIR/bindshare; without that variable
 * /run/user/UID/bindshare; if the user has no such directory either, /tmp/bindshare-UID. make: makes the directory, see
 * control_path_make_directory(). Returns 0; -EPERM: the directory is somebody else's; -ENAMETOOLONG; or an error of
 * mkdir(2). path is set on every error but -ENAMETOOLONG.
 */
int control_path_default(char *path, size_t size, bool make);

/*
 * If path is directly in the runtime directory, makes that directory with mode 0700, or sets this mode if the user owns
 * it already. Returns 0 or a negative errno, as above.
 */
int control_path_make_directory(const char *path);

/* Text for an error of one of these functions: "its directory ...". */
const char *control_path_words(int error);
