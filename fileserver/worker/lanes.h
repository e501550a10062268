/* SPDX-License-Identifier: Apache-2.0 */
/* A session's data lanes, each with a thread that serves one request after the other. */
#pragma once

#include "fileserver/worker/service.h"

/* Takes fd: a new data lane with a thread of its own; at most lanes_max (the fd is told REFUSE and closed). */
int lanes_add(struct service *service, int fd, uint64_t proof_id);
/* What a lane does; zeros when there is none of that number. */
void lanes_state(struct service *service, uint32_t number, struct proto_lane_state_reply *ret_state);
/*
 * Refuses every change from now on and waits until the requests that were let through before have ended. False: one
 * has not within timeout_ms, since the host blocks it.
 */
bool lanes_make_read_only(struct service *service, int timeout_ms);
