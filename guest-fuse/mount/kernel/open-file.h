/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open regular file. The kernel has its address as file handle. Every function runs in a thread that serves the
 * kernel.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct client;
struct kept_file;
struct proto_entry;
struct thread;

struct open_file {
	uint64_t handle, node;
	struct kept_file *kept; /* whose handle it is; NULL: its own, closed with it */
	uint64_t ahead;         /* ticket of ahead.h, or 0 */
	_Atomic uint32_t drop;  /* of objects_opened(), until the file is used for the first time; 0: none */
	bool writable, mappable, buffered;
	bool direct; /* around the page cache: the kernel does not send FSYNC after a write that is to be synchronous */
	int sync;    /* O_SYNC and O_DSYNC bits, with which the server has opened it */
};

/* open(2)'s flags as the server takes them. */
uint32_t open_file_flags(int flags);

/* Memory for one, or NULL. Called before the server is asked, so that it opens nothing in vain. */
struct open_file *open_file_new(void);
/* The kernel gets it as a handle; and has closed it, so that it is freed. Both note that the object is open. */
void open_file_begin(struct client *client, struct open_file *file, uint64_t node, uint64_t handle, int flags);
void open_file_end(struct client *client, struct open_file *file);
/* Closes its handle at the server, unless that is kept for the next open. */
void open_file_close(struct thread *thread, struct open_file *file);
/* At each request with this handle: by now the thread that opened it has dropped its pages. */
void open_file_used(struct client *client, struct open_file *file);

/*
 * The server has made or opened a file: checks its reply and fills file. 0; or a negative errno, and the reference and
 * the handle that came with the reply are given back. file is the caller's in both cases.
 */
int open_file_created(struct thread *thread, uint64_t parent, const char *name, const struct proto_entry *entry,
                      uint64_t handle, int flags, struct open_file *file);
/* The kernel did not take the answer: undoes it, and frees file. */
void open_file_not_created(struct thread *thread, const struct proto_entry *entry, struct open_file *file);
