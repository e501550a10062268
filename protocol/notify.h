/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager is told, as sd_notify(3) documents it for programs that do without libsystemd. */
#pragma once

/* Sends lines like "READY=1" to $NOTIFY_SOCKET. 0: sent, or there is no such socket; or a negative errno. */
int notify_send(const char *lines);
