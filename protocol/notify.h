/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the service manager, by the protocol that sd_notify(3) documents for programs without libsystemd. */
#pragma once

/*
 * Sends lines such as "READY=1" to $NOTIFY_SOCKET. Returns 0 when sent or when the variable is not set; or a negative
 * errno.
 */
int notify_send(const char *lines);
