/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl doctor. */
#pragma once

#include <stdbool.h>

enum { DOCTOR_FOUND = 1 };

/*
 * Checks the host and the server at the control socket, or with NULL the guest and the bindshare-guestd of this
 * configuration; prints what it found and what to do. EX_OK: nothing keeps bindshare from working; DOCTOR_FOUND:
 * something does.
 */
int doctor_run(const char *path, const char *config, bool as_json);
