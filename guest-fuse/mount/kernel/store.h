/* SPDX-License-Identifier: Apache-2.0 */
/* Contents that came with OPEN, given to the kernel before its READ. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct open_file;
struct proto_open_reply;
struct thread;

enum store_result {
	STORE_NOTHING, /* the kernel has to read */
	STORE_DONE,    /* its pages are the file's */
	STORE_DOUBTED, /* something happened meanwhile: it must drop them, and ask for the attributes */
};

/*
 * By the thread that opens a file, before the kernel has the answer. reply: what a request that came at since
 * (clock_ns()) was answered; the kernel knows the file's size from before, and will be told to keep its pages.
 */
enum store_result store_contents(struct thread *thread, uint64_t ino, const struct open_file *file, int64_t since,
                                 const struct proto_open_reply *reply);
