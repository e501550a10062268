/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings file: JSON, of which the list FilesharingDirectories counts (older: filesharingDirectories), as in
 * Docker Desktop's settings-store.json. Entries are absolute paths.
 */
#pragma once

#include <stddef.h>

struct settings {
	char **directories;
	size_t count;
};

/*
 * Reads the file. It must be a regular file that belongs to the caller or to root and that nobody else may write, since
 * whoever writes it decides what is shared. 0 and what settings_done() frees; -EPERM: the file is not such; -EINVAL: no
 * such settings in it; or what open says; and words in error.
 */
int settings_read(const char *path, struct settings *ret_settings, char *error, size_t error_size);
void settings_done(struct settings *settings);

/* ~/.docker/desktop/settings-store.json. 0, -ENOENT when there is no home, -ENAMETOOLONG. */
int settings_default_path(char *path, size_t size);
