/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator's policy, as in Docker Desktop's admin-settings.json:
 *
 *   "filesharingAllowedDirectories": [ { "path": "$HOME", "sharedByDefault": true }, { "path": "$TMP" } ]
 *
 * What a user shares must lie within one of them, by its name and where it leads. Without the key nothing is limited;
 * an empty list allows nothing. Those that are sharedByDefault are shared while the settings have no list.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define POLICY_DEFAULT_PATH "/usr/share/docker-desktop/admin-settings.json"

struct policy_directory {
	char *path; /* normal form, variables filled in */
	bool shared_by_default;
};

struct policy {
	bool limits;
	struct policy_directory *directories;
	size_t count;
};

/* Reads the file, which is checked as the settings are. 0 and what policy_done() frees, or a negative errno and words.
 */
int policy_read(const char *path, struct policy *ret_policy, char *error, size_t error_size);
void policy_done(struct policy *policy);

/*
 * True: a directory (normal form) may be shared. One that is not there yet is looked at by its name only, and must be
 * looked at again.
 */
bool policy_allows(const struct policy *policy, const char *path);
