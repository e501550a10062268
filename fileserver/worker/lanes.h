/* SPDX-License-Identifier: Apache-2.0 */
/* The data lanes of a session, each with a thread that serves one request after the other. */
#pragma once

#include "fileserver/worker/service.h"

/* Adds a data lane with a thread of its own. Always takes over fd: beyond lanes_max it is sent REFUSE and closed. */
int lanes_add(struct service *service, int fd, uint64_t proof_id);
/* The state of a lane; zeros when there is none with this number. */
void lanes_state(struct service *service, uint32_t number, struct proto_lane_state_reply *ret_state);
/*
 * Refuses every change from now on and waits until the requests that were admitted before have ended. Returns false
 * when one has not ended within timeout_ms because the host blocks it.
 */
bool lanes_make_read_only(struct service *service, int timeout_ms);
