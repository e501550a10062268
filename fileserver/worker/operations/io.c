/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on open files: READ, WRITE, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_RANGE. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/operations/io.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/ownership.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* Reads up to size bytes, fewer only at the end of the file. Returns the number, or a negative errno. */
static ssize_t read_whole(int fd, uint8_t *bytes, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		size_t want = size - done;
		ssize_t n = FAULT_SIZE(WORKER_READ, want, pread(fd, bytes + done, want, (off_t) (offset + done)));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done > 0 ? (ssize_t) done : -errno;
		if (n == 0)
			break;
		done += (size_t) n;
	}
	return (ssize_t) done;
}

void io_read_first(struct call *call, int fd, uint32_t size, struct proto_data *ret_data)
{
	ssize_t n = size == 0 ? 0 : read_whole(fd, call->data, size, 0);

	/* An error is left to READ, which the guest sends next. */
	if (n < 0)
		n = 0;
	*ret_data = (struct proto_data){ .length = (size_t) n, .available = (size_t) n, .bytes = call->data };
}

static int send_chunk(struct call *call, size_t length)
{
	struct proto_read_reply part = { .data = { .length = length, .available = length, .bytes = call->data } };
	struct proto_writer writer;
	int r;

	proto_writer_init(&writer, call->fields, PROTO_SMALL_MAX);
	r = proto_encode_read_reply(&writer, &part);
	return r < 0 ? r : call_send_part(call, &writer);
}

int worker_read(struct call *call, const struct worker_read *request, struct proto_read_reply *ret_reply)
{
	uint64_t offset = request->offset;
	uint32_t left = request->size;
	ssize_t n = 0;
	int r = 0;

	if (left > PROTO_DATA_MAX || offset > (uint64_t) INT64_MAX - left)
		return -EINVAL;
	for (;;) {
		size_t part = left < PROTO_CHUNK ? left : PROTO_CHUNK;

		n = read_whole(request->handle->fd, call->data, part, offset);
		if (n < 0)
			r = (int) n;
		if (n < PROTO_CHUNK || left == PROTO_CHUNK)
			break;
		r = send_chunk(call, (size_t) n);
		if (r < 0)
			break;
		left -= PROTO_CHUNK;
		offset += PROTO_CHUNK;
	}
	if (r == 0)
		ret_reply->data =
		        (struct proto_data){ .length = (size_t) n, .available = (size_t) n, .bytes = call->data };
	return r;
}

/*
 * Writes all bytes. Returns how many were written before an error, or the error when it was none. When the disk is full
 * of objects that the guest has just removed, it is tried once more.
 */
static ssize_t write_whole(struct session *session, int fd, const uint8_t *bytes, size_t size, uint64_t offset,
                           bool append)
{
	bool waited = false;
	size_t done = 0;

	while (done < size) {
		struct iovec iov = { .iov_base = (void *) (bytes + done), .iov_len = size - done };
		ssize_t n = FAULT_SIZE(WORKER_WRITE, iov.iov_len,
		                       append ? pwritev2(fd, &iov, 1, 0, RWF_APPEND)
		                              : pwrite(fd, iov.iov_base, iov.iov_len, (off_t) (offset + done)));

		if (n < 0) {
			int error = errno;

			if (error == EINTR)
				continue;
			if ((error == ENOSPC || error == EDQUOT) && !waited) {
				waited = true;
				if (nodes_wait_for_orphans(session->nodes))
					continue;
			}
			return done > 0 ? (ssize_t) done : -error;
		}
		done += (size_t) n;
	}
	return (ssize_t) done;
}

/* Writes at most most bytes of the data, which arrive part by part in the lane's buffer. */
static ssize_t write_data(struct call *call, int fd, const struct worker_write *request, uint64_t most)
{
	bool append = (request->flags & PROTO_WRITE_APPEND) != 0;
	const void *bytes = request->data.bytes;
	ssize_t size = (ssize_t) request->data.available, n;
	size_t done = 0;

	while (size > 0 && done < most) {
		if ((uint64_t) size > most - done)
			size = (ssize_t) (most - done);
		n = write_whole(call->session, fd, bytes, (size_t) size, request->offset + done, append);
		if (n < 0)
			return done > 0 ? (ssize_t) done : n;
		done += (size_t) n;
		if (n < size)
			break;
		size = call_more_data(call, &bytes);
		if (size < 0)
			return -EBADMSG; /* the lane is dead: nobody waits for a reply */
	}
	return (ssize_t) done;
}

int worker_write(struct call *call, const struct worker_write *request, struct proto_write_reply *ret_reply)
{
	struct session *session = call->session;
	const struct handle *handle = request->handle;
	struct space_claim claim;
	ssize_t n;
	int r;

	if (request->offset > (uint64_t) INT64_MAX - request->data.length)
		return -EFBIG;
	r = space_claim(&session->space, handle->node, handle->fd, request->data.length, &claim);
	if (r < 0)
		return r;
	/* Before the data, as the kernel does: if the bits cannot be cleared, nothing is written. */
	if ((request->flags & PROTO_WRITE_KILL_PRIVILEGES) != 0)
		r = ownership_kill_privileges(session, handle->fd);
	if (r == 0) {
		n = write_data(call, handle->fd, request, claim.bytes);
		r = n < 0 ? (int) n : durable_write(handle->fd, request->flags);
	}
	if (r == 0) {
		ret_reply->written = (uint32_t) n;
		r = attributes_of(session, handle->node, handle->fd, &ret_reply->attr, NULL);
	}
	space_settle(&session->space, &claim);
	return r;
}

int worker_release(struct call *call, const struct worker_release *request, struct proto_release_reply *ret_reply)
{
	nodes_close(call->session->nodes, request->handle);
	return 0;
}

int worker_fsync(struct call *call, const struct worker_fsync *request, struct proto_fsync_reply *ret_reply)
{
	int fd = request->handle->fd;

	return FAULT(WORKER_SYNC, request->datasync != 0 ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

static int allocate(struct session *session, int fd, uint32_t mode, uint64_t offset, uint64_t length)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	do
		r = FAULT(WORKER_ALLOCATE, fallocate(fd, (int) mode, (off_t) offset, (off_t) length)) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
	return r;
}

/* In steps of what may be claimed at a time: other sessions do not know of this one's claims. */
static int allocate_claimed(struct session *session, const struct worker_fallocate *request)
{
	const struct handle *handle = request->handle;
	uint64_t offset = request->offset, end = request->offset + request->length;
	int r = space_fits(&session->space, handle->node, handle->fd, request->length);

	while (r == 0 && offset < end) {
		struct space_claim claim;

		r = space_claim(&session->space, handle->node, handle->fd, end - offset, &claim);
		if (r < 0)
			break;
		r = allocate(session, handle->fd, request->mode, offset, claim.bytes);
		offset += claim.bytes;
		space_settle(&session->space, &claim);
	}
	return r;
}

int worker_fallocate(struct call *call, const struct worker_fallocate *request, struct proto_fallocate_reply *ret_reply)
{
	struct session *session = call->session;
	const struct handle *handle = request->handle;
	int r;

	if (request->length == 0)
		return -EINVAL;
	if (request->offset > (uint64_t) INT64_MAX - request->length)
		return -EFBIG;
	r = ownership_kill_privileges(session, handle->fd);
	if (r == 0 && (request->mode & PROTO_FALLOCATE_PUNCH_HOLE) != 0)
		r = allocate(session, handle->fd, request->mode, request->offset, request->length);
	else if (r == 0)
		r = allocate_claimed(session, request);
	if (r == 0)
		r = durable_contents(session, handle->fd);
	if (r == 0)
		r = attributes_of(session, handle->node, handle->fd, &ret_reply->attr, NULL);
	return r;
}

int worker_lseek(struct call *call, const struct worker_lseek *request, struct proto_lseek_reply *ret_reply)
{
	off_t at;

	if (request->whence != SEEK_DATA && request->whence != SEEK_HOLE)
		return -EINVAL;
	/* lseek(2) is safe: nothing else uses the position of a file's descriptor. */
	at = FAULT(WORKER_SEEK, lseek(request->handle->fd, (off_t) request->offset, (int) request->whence));
	if (at < 0)
		return -errno;
	ret_reply->offset = (uint64_t) at;
	return 0;
}

/* Limit, so that a huge range does not occupy a lane for minutes; the guest's kernel asks again for the rest. */
enum { COPY_STEP = 64 * 1024 * 1024 };

static int copy(const struct worker_copy_range *request, size_t length, uint64_t *ret_copied)
{
	off_t from = (off_t) request->offset_in, to = (off_t) request->offset_out;
	ssize_t n;

	do
		n = FAULT_SIZE(WORKER_COPY, length,
		               copy_file_range(request->handle_in->fd, &from, request->handle_out->fd, &to, length, 0));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_copied = (uint64_t) n;
	return 0;
}

int worker_copy_range(struct call *call, const struct worker_copy_range *request,
                      struct proto_copy_range_reply *ret_reply)
{
	uint64_t length = request->length < COPY_STEP ? request->length : COPY_STEP;
	struct session *session = call->session;
	const struct handle *out = request->handle_out;
	struct space_claim claim;
	int r = space_claim(&session->space, out->node, out->fd, length, &claim);

	if (r < 0)
		return r;
	r = ownership_kill_privileges(session, out->fd);
	if (r == 0)
		r = copy(request, (size_t) claim.bytes, &ret_reply->copied);
	space_settle(&session->space, &claim);
	if (r == 0)
		r = durable_contents(session, out->fd);
	return r < 0 ? r : attributes_of(session, out->node, out->fd, &ret_reply->attr, NULL);
}
