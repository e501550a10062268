/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's tree as text: to see whether an operation changed anything in it. */
#pragma once

/*
 * A line for each object beneath the directory: path, mode, links, size, content (its first bytes) and the record of
 * its owner; no times. Fails the test when it cannot. The caller frees it.
 */
char *picture_take(const char *directory);
/* How many descriptors this process has. */
int picture_descriptors(void);
