/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the broker's loop. */
#pragma once

#include <uv.h>

#include "protocol/address.h"

struct listener {
	uv_poll_t poll;
	int fd;
	struct proto_address address;
	void (*accepted)(struct listener *listener, int fd);
	void *context;
};

/*
 * Checks that nobody else may put another socket in this one's place: its directory belongs to the caller or to root
 * and others may not write it. 0; -EPERM or what stat says, and words in error. vsock: always 0.
 */
int listener_check_directory(const struct proto_address *address, char *error, size_t error_size);

/*
 * Listens and begins to accept: accepted(), which takes the descriptor (CLOEXEC, non-blocking), is called in the
 * loop's thread. 0 or a negative errno.
 */
int listener_open(struct listener *listener, uv_loop_t *loop, const struct proto_address *address, int backlog,
                  void (*accepted)(struct listener *listener, int fd), void *context);
/* While paused, connections wait in the backlog. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);
/* Stops, and removes a unix socket's file. The memory must live until the loop has run once more. */
void listener_close(struct listener *listener);
