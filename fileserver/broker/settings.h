/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings file: JSON, of which the list FilesharingDirectories counts (older: filesharingDirectories), as in
 * Docker Desktop's settings-store.json, and the object "bindshare", which is bindshare's own:
 *
 *   "bindshare": { "owner": "view", "permissions": "guest", "cache": "auto",
 *                  "shares": { "/home/me/reference": { "readOnly": true, "owner": "host" } } }
 *
 * What stands beside "shares" is for all directories. Paths may begin with "~" and so on (expand.h). A directory in
 * "shares" that is not on the list counts for nothing. The two keys count in another case, too.
 *
 * What is wrong with one directory costs no other: an entry of the list that is no path is left out, and a directory
 * about which something in "shares" makes no sense is read-only, since a misspelt key would let others write. What is
 * wrong with all of them, an unknown key beside "shares" for example, is an error.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_WHAT           "settings file"
#define SETTINGS_LIST_KEY       "FilesharingDirectories"
#define SETTINGS_OLDER_LIST_KEY "filesharingDirectories"
#define SETTINGS_OWN_KEY        "bindshare"

/* How the guest is to mount a share; see bindshare-mount(8). NULL: nothing was said. Each is a constant. */
struct settings_mount {
	const char *owner;       /* "view" or "host" */
	const char *permissions; /* "guest" or "host" */
	const char *cache;       /* "auto" or "none" */
};

struct settings_directory {
	char *path; /* normal form */
	bool read_only;
	struct settings_mount mount;
};

struct settings {
	struct settings_directory *directories;
	size_t count;
	bool has_list; /* there is a list, be it empty */
};

/*
 * Reads the file; see document_read() for which are refused. 0 and what settings_done() frees; then error is "", or
 * tells what was left out. A negative errno (-EINVAL: malformed) and words.
 */
int settings_read(const char *path, struct settings *ret_settings, char *error, size_t error_size);
void settings_done(struct settings *settings);

/*
 * Puts a directory (normal form) on the file's list, or sets whether it is read-only; removes it. All else in the file
 * stays as it is. defaults: what the list was, where the file has none: it is written then. 0, or a negative errno and
 * words (-ENOENT from settings_remove(): it is not on the list).
 */
int settings_add(const char *path, const char *directory, bool read_only, const struct settings *defaults, char *error,
                 size_t error_size);
int settings_remove(const char *path, const char *directory, const struct settings *defaults, char *error,
                    size_t error_size);

/* Makes the directories on the way to a file that are not there, open to the user alone. 0 or a negative errno. */
int settings_make_directory(const char *path);

/* The list of directories, borrowed; NULL: there is none. */
json_t *settings_list(const json_t *root);
/* True: both are the same path, however it is written. Either may be NULL. */
bool settings_is_same(const char *left, const char *right);

/* ~/.docker/desktop/settings-store.json. 0, -ENOENT when there is no home, -ENAMETOOLONG. */
int settings_default_path(char *path, size_t size);
