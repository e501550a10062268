/* SPDX-License-Identifier: Apache-2.0 */
/* Whether names are found under no other spelling than their own. */
#pragma once

#include <stdbool.h>

/*
 * directory: open for reading. False where upper and lower case, say, are the same to the host's file system, and where
 * that cannot be known: then a name that no entry has may be there nevertheless.
 */
bool spelling_is_exact(int directory);
