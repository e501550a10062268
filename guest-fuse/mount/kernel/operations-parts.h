/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of operations_fill(), one file each. */
#pragma once

struct client;
struct fuse_lowlevel_ops;

void operations_fill_names(struct fuse_lowlevel_ops *ops);
void operations_fill_attributes(struct fuse_lowlevel_ops *ops);
void operations_fill_files(const struct client *client, struct fuse_lowlevel_ops *ops);
void operations_fill_data(struct fuse_lowlevel_ops *ops);
void operations_fill_directories(struct fuse_lowlevel_ops *ops);
