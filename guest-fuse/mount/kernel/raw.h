/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that libfuse 3.14 does not know, or knows in a way that does not serve: answered before it sees them. */
#pragma once

#include "guest-fuse/mount/server/connection.h"

/* True: the lane's request was dealt with. */
bool raw_process(struct lane *lane);
