/* SPDX-License-Identifier: Apache-2.0 */
/* Reading for an operation that is not READ. */
#pragma once

#include "fileserver/worker/session/call.h"

/*
 * The first size bytes of an open file, at most PROTO_CHUNK, into the reply's data; fewer, or none, when they cannot
 * be had.
 */
void io_read_first(struct call *call, int fd, uint32_t size, struct proto_data *ret_data);
