/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest's root, and nobody else, can show when it asks for a file bind (guest-fuse/file-bind.h). */
#pragma once

#include <stdbool.h>

#include "guest-fuse/file-bind.h"

struct secret {
	bool published;
	struct file_bind_argument argument;
	char path[FILE_BIND_PATH_SIZE];
};

/* Writes the secret of the mount with this device number to where root can read it. 0 or a negative errno. */
int secret_publish(struct secret *secret, unsigned major, unsigned minor);
/* Takes it away: nobody is admitted any more. */
void secret_withdraw(struct secret *secret);
/* Whether whoever asks knows it. */
bool secret_matches(const struct secret *secret, const struct file_bind_argument *argument);
