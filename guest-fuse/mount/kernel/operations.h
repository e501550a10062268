/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's requests, each with at most one request to the server, or two where a file follows its name (follow.h).
 * Every function runs in a lane's thread, and has
 * the request at hand in lane_current().
 */
#pragma once

#include "guest-fuse/mount/client.h"

struct fuse_lowlevel_ops;

/* An open regular file; the kernel has its address as file handle. */
struct operations_file {
	uint64_t handle, node;
	uint64_t ahead;        /* ticket of ahead.h, or 0 */
	_Atomic uint32_t drop; /* of objects_opened(), until the file is used; 0: none */
	bool writable, mappable, buffered;
	bool direct; /* around the page cache: the kernel does not send FSYNC after a write that is to be synchronous */
	int sync;    /* O_SYNC and O_DSYNC bits, with which the server has opened it */
};

/* All operations but init. */
void operations_fill(const struct client *client, struct fuse_lowlevel_ops *ret_ops);
/* The parts of it, one file each. */
void operations_fill_names(struct fuse_lowlevel_ops *ops);
void operations_fill_attributes(struct fuse_lowlevel_ops *ops);
void operations_fill_files(const struct client *client, struct fuse_lowlevel_ops *ops);
void operations_fill_data(struct fuse_lowlevel_ops *ops);
void operations_fill_directories(struct fuse_lowlevel_ops *ops);

/* open(2)'s flags as the server takes them. */
uint32_t operations_open_flags(int flags);
/*
 * What a question for attributes is about: request->node is the kernel's number before and the server's afterwards.
 * file: the open file that the kernel asks through, or NULL.
 */
void operations_look(struct lane *lane, struct proto_getattr_request *request, const struct operations_file *file);

/* References that nobody needs any more; they go back with others. */
void operations_give_back(struct client *client, uint64_t node, uint64_t references);
/* The kernel did not take one look-up of node that it was to get. */
void operations_not_taken(struct client *client, uint64_t node);
/* A change from here is done to a directory, of which the server says attr. */
void operations_directory_changed(struct lane *lane, uint64_t node, const struct proto_attr *attr);
/* A change from here is done to an object, and nothing is known but that. */
void operations_changed(struct lane *lane, uint64_t node);
/* A handle that nobody needs any more. */
void operations_close(struct lane *lane, uint64_t handle);

/* The kernel gets a handle for it, and gives it back; both take care of what nodes know of open files. */
/* Memory for a handle, or NULL; before the server is asked, so that it makes nothing in vain. */
struct operations_file *operations_file_new(void);
void operations_file_open(struct client *client, struct operations_file *file, uint64_t node, uint64_t handle,
                          int flags);
void operations_file_free(struct client *client, struct operations_file *file);
/* At each request for an open file: the thread that opened it has come back from the kernel. */
void operations_file_used(struct client *client, struct operations_file *file);

/*
 * The server made or opened a file: checks its reply, and fills file, the handle for the kernel. 0; or a negative
 * errno, and what the reply gave has been given back, but for file.
 */
int operations_created(struct lane *lane, uint64_t parent, const char *name, const struct proto_entry *entry,
                       uint64_t handle, int flags, struct operations_file *file);
/* The kernel did not take that. */
void operations_not_created(struct lane *lane, const struct proto_entry *entry, struct operations_file *file);
