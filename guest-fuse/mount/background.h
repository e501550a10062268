/* SPDX-License-Identifier: Apache-2.0 */
/* Going to the background: the caller continues when the mount serves, or is told why it does not. */
#pragma once

/*
 * Forks; call it before there are threads. The child gets a descriptor for background_ready(). In the parent it does
 * not return: the process exits with 0 once the child is ready, or with the child's exit code. A negative errno when
 * there is no child.
 */
int background_start(void);
/* The child: the mount serves. From here on it logs to the system's log, if there is one. */
void background_ready(int fd);
