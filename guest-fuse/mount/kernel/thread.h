/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that serves the kernel: it reads a request from a clone of /dev/fuse of its own, asks the server over a
 * connection of its own, and answers on that same descriptor.
 */
#pragma once

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/kernel/sleepers.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/request.h"
#include "protocol/spin.h"

struct source;

struct thread {
	struct client *client;
	int device;             /* O_NONBLOCK */
	struct proto_spin spin; /* for the kernel's requests */
	struct source *source;  /* where it gets requests (threads.c) */
	struct sleeper sleeper; /* while it is not to read there */
	struct connection connection;
	struct request request; /* that it works on */
};

/* 0 or a negative errno. Its connection is not there yet. */
int thread_new(struct client *client, struct thread **ret_thread);
void thread_free(struct thread *thread);

/* The calling thread, or NULL: one that serves no requests. */
struct thread *thread_current(void);
void thread_set_current(struct thread *thread);
