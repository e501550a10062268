/* SPDX-License-Identifier: Apache-2.0 */
/* A worker as a process: its start with exactly the descriptors of handover.h, and the words that the broker sends it.
 */
#pragma once

#include <uv.h>

#include "fileserver/common/handover.h"

struct process {
	uv_process_t handle;
	int channel; /* the broker's end of WORKER_FD_BROKER; non-blocking */
	const struct proto_counters *counters;
};

/*
 * Starts "executable --worker" and sends it its configuration, and the list of what is protected, a descriptor or -1
 * where there is none. connection, root and protect stay the caller's. exited() is
 * called in the loop's thread. 0 or a negative errno; after 0, and after exited() and uv_close() of the handle,
 * process_done().
 */
int process_start(struct process *process, uv_loop_t *loop, const char *executable, int connection, int root,
                  int protect, const struct worker_config *config, uv_exit_cb exited);
/* fd: -1 or a descriptor that goes with the message. 0 or a negative errno (-EAGAIN: the worker does not read). */
int process_send(const struct process *process, const struct worker_message *message, int fd);
/* 0; -EAGAIN: there is no message; -ENOTCONN: the worker is gone; -EBADMSG. */
int process_receive(const struct process *process, struct worker_message *ret_message);
/* Adds what counts, not the gauges. */
void process_add_counters(struct proto_counters *sum, const struct proto_counters *counters);
void process_done(struct process *process);
