/* SPDX-License-Identifier: Apache-2.0 */
/* A session's event lane: its heartbeat, and its end. */
#pragma once

#include "fileserver/worker/service.h"

/* Sends WELCOME on the event lane and serves it in a thread of its own. */
int events_start(struct service *service);
