/* SPDX-License-Identifier: Apache-2.0 */
/* A request of the kernel's, from when it was read until it is answered. */
#include "guest-fuse/mount/server/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/frame.h"
#include "protocol/lock.h"

int request_init(struct request *request, int device, struct connection *connection)
{
	*request = (struct request){ .device = device, .connection = connection };
	lock_init(&request->lock);
	/* Pages that are never touched are never there. */
	request->buffer = FAULT(MOUNT_LANE_BUFFER, mmap(NULL, REQUEST_BUFFER_SIZE, PROT_READ | PROT_WRITE,
	                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (request->buffer == MAP_FAILED)
		request->buffer = NULL;
	request->message = malloc(PROTO_SMALL_MAX);
	return request->buffer == NULL || request->message == NULL ? -ENOMEM : 0;
}

void request_done(struct request *request)
{
	if (request->buffer != NULL)
		munmap(request->buffer, REQUEST_BUFFER_SIZE);
	free(request->message);
	lock_done(&request->lock);
}

void request_begin(struct request *request)
{
	const struct fuse_in_header *in = request_header(request);

	atomic_store_explicit(&request->since, clock_ns(), memory_order_relaxed);
	lock_take(&request->lock);
	request->unique = in->unique;
	request->pid = (pid_t) in->pid;
	request->interrupted = request->answered = request->given_up = false;
	lock_give(&request->lock);
	request->unsure = false;
	memset(request->changed, 0, sizeof(request->changed));
}

bool request_end(struct request *request)
{
	bool heard;

	lock_take(&request->lock);
	heard = !request->given_up && !request->unsure;
	request->unique = 0;
	lock_give(&request->lock);
	return heard;
}

void request_changes(struct request *request, uint64_t node)
{
	for (size_t i = 0; i < REQUEST_CHANGED; i++)
		if (request->changed[i] == 0) {
			request->changed[i] = node;
			return;
		}
}

static bool answer(struct request *request, uint64_t unique, bool give_up)
{
	bool first;

	lock_take(&request->lock);
	first = request->unique == unique && !request->answered;
	if (first) {
		request->answered = true;
		request->given_up = give_up;
	}
	lock_give(&request->lock);
	return first;
}

bool request_answer(struct request *request, uint64_t unique)
{
	return answer(request, unique, false);
}

bool request_give_up(struct request *request, uint64_t unique)
{
	return answer(request, unique, true);
}

bool request_interrupt(struct request *request, uint64_t unique)
{
	bool found;

	lock_take(&request->lock);
	found = request->unique == unique;
	if (found)
		request->interrupted = true;
	lock_give(&request->lock);
	return found;
}
