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

/* Its two sides. */
void doctor_host(const char *path);
void doctor_guest(const char *config);

/* level: "ok", "note", "warning" or "error". advice: NULL, or what to do. */
void doctor_found(const char *check, const char *level, const char *advice, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* The limit of open files of a process. */
void doctor_files(long long pid);
