/* SPDX-License-Identifier: Apache-2.0 */
/* The event lane of a session: heartbeat, questions about data lanes, the end. */
#pragma once

#include "fileserver/worker/service.h"

/* Sends WELCOME on the event lane and starts a thread that serves it. Returns 0 or a negative errno. */
int events_start(struct service *service);
