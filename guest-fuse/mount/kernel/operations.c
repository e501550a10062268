/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's requests: all of them together. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/operations.h"

#include <fuse_lowlevel.h>

#include "guest-fuse/mount/kernel/operations-parts.h"

void operations_fill(const struct client *client, struct fuse_lowlevel_ops *ret_ops)
{
	*ret_ops = (struct fuse_lowlevel_ops){ 0 };
	operations_fill_names(ret_ops);
	operations_fill_attributes(ret_ops);
	operations_fill_files(client, ret_ops);
	operations_fill_data(ret_ops);
	operations_fill_directories(ret_ops);
}
