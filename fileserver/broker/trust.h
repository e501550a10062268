/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether somebody else than the user and root could have put there what a path leads to. It decides about a listed
 * directory when it is first found, since it may have been missing before, in /tmp for example.
 */
#pragma once

#include <stdbool.h>

/*
 * True: each directory of the way belongs to root or the user and nobody else may write to it (where it is sticky, the
 * next step belongs to one of them), and no symbolic link of the way lies where is_shared() says that guests may write,
 * unless it leads to where they may, too.
 * directory: canonical. What is not there is not trusted.
 */
bool trust_path(const char *path, bool (*is_shared)(void *context, const char *directory), void *context);
