/* SPDX-License-Identifier: Apache-2.0 */
/* Running in the background: the caller gets its prompt back when the mount serves, or the reason why it does not. */
#pragma once

/*
 * Forks, before there are threads. In the child: 0 or more, a descriptor for background_ready(). In the parent this
 * does not return: it ends with the child's exit code, or 0 once the child is ready. A negative errno when it cannot.
 */
int background_start(void);
/* The child: the mount serves. From here on its log goes to the system's, if there is one. */
void background_ready(int fd);
