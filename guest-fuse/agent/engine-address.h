/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a request to the Docker Engine API, as dockerd reads it. */
#pragma once

#include <limits.h>
#include <stdbool.h>

/*
 * The path without version, query, escapes and empty components; *ret_old: the version may be one before 1.24. 0 or
 * -EINVAL. What has a scheme before the path ("http://x/containers/create") is the same to dockerd as the path alone;
 * "#" is a byte as any other to it, which no client sends.
 */
int engine_address_clean(const char *uri, char path[PATH_MAX], bool *ret_old);

/* The query sets a parameter of this name to something, however it is escaped. */
bool engine_address_sets(const char *uri, const char *name);
