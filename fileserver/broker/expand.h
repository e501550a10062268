/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as people write them into settings and policies. */
#pragma once

#include <limits.h>

/*
 * The normal form of an absolute path without "..", which may begin with "~", "$HOME", "$TMP" or "$TEMP" (also
 * "${HOME}"). 0; -EINVAL: it is none; -ENOENT: the variable is none of these, or is not set to an absolute path;
 * -ENAMETOOLONG.
 */
int expand_path(const char *text, char normal[PATH_MAX]);

/* What is wrong with a path for which expand_path() returned error: "is not ...". */
const char *expand_words(int error);
