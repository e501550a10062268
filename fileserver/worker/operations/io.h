/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file for an operation other than READ. */
#pragma once

#include "fileserver/worker/session/call.h"

/*
 * Reads the first size bytes of an open file, at most PROTO_CHUNK, into the reply's data. Fewer bytes, or none, when
 * they cannot be read.
 */
void io_read_first(struct call *call, int fd, uint32_t size, struct proto_data *ret_data);
