/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mount: its parts, which parts.c makes and frees. Whoever uses one of them includes its header.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct absent;
struct ahead;
struct counts;
struct file_binds;
struct held;
struct fuse_session;
struct interrupts;
struct invalidator;
struct kept;
struct listings;
struct mount_options;
struct notifier;
struct objects;
struct pending;
struct recent;
struct secret;
struct server;
struct threads;
struct validity;

struct client {
	const struct mount_options *options;

	/* What faces the server. */
	struct server *server;
	struct pending *pending;
	/* What is known. */
	struct objects *objects;
	struct recent *recent;
	struct ahead *ahead;
	struct absent *absent;
	struct listings *listings;
	struct file_binds *file_binds;
	struct held *held;
	struct kept *kept;
	struct validity *validity;
	/* What faces the kernel. */
	struct threads *threads;
	struct interrupts *interrupts;
	struct notifier *notifier;
	struct invalidator *invalidator;
	struct counts *counts;
	struct secret *secret;
	struct fuse_session *fuse;
	int device; /* /dev/fuse: the descriptor that the mount was made with; those of the threads are clones of it */

	/* What WELCOME said. */
	uint64_t root; /* the server's number of the root; the kernel's is 1 */
	uint32_t block_size;
	bool read_only; /* or asked for */
	bool sync_at_close;

	uint64_t init_flags;      /* FUSE_* bits that the kernel offered; written before the first reply */
	_Atomic bool initialized; /* the kernel has the answer to INIT */
};

/* A FUSE node id as the server knows it. */
static inline uint64_t client_node(const struct client *client, uint64_t ino)
{
	return ino == 1 ? client->root : ino;
}

/* The other way round. */
static inline uint64_t client_ino(const struct client *client, uint64_t node)
{
	return node == client->root ? 1 : node;
}
