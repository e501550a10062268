/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on the contents of open files. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/attributes.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/io.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/space.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* A handle of a regular file that was opened for what is asked. Undone by nodes_handle_put(). */
static int file_handle(struct session *session, uint64_t id, bool reading, bool writing, struct handle **ret_handle)
{
	struct handle *handle;
	int r = nodes_handle(session->nodes, id, &handle);

	if (r < 0)
		return r;
	/* The guest can name a directory's handle, or one that was opened for something else, here. */
	if (handle->directory || (reading && !handle->readable) || (writing && !handle->writable)) {
		nodes_handle_put(session->nodes, handle);
		return -EBADF;
	}
	*ret_handle = handle;
	return 0;
}

/* As many bytes as there are, up to size. The number, or a negative errno. */
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

void io_read_first(struct lane *lane, int fd, uint32_t size, struct proto_data *ret_data)
{
	ssize_t n = size == 0 ? 0 : read_whole(fd, lane->channel.buffer, size, 0);

	/* What cannot be read is for READ to say. */
	if (n < 0)
		n = 0;
	*ret_data = (struct proto_data){ .length = (size_t) n, .available = (size_t) n, .bytes = lane->channel.buffer };
}

static int send_chunk(struct lane *lane, size_t length)
{
	struct proto_read_reply part = {
		.data = { .length = length, .available = length, .bytes = lane->channel.buffer }
	};
	struct proto_writer writer;
	int r;

	proto_writer_init(&writer, lane->reply, PROTO_SMALL_MAX);
	r = proto_encode_read_reply(&writer, &part);
	return r < 0 ? r : lane_send_part(lane, PROTO_READ, &writer);
}

int worker_read(struct lane *lane, const struct proto_read_request *request, struct proto_read_reply *ret_reply)
{
	struct session *session = lane->session;
	uint64_t offset = request->offset;
	uint32_t left = request->size;
	struct handle *handle;
	ssize_t n = 0;
	int r;

	if (left > PROTO_DATA_MAX || offset > (uint64_t) INT64_MAX - left)
		return -EINVAL;
	r = file_handle(session, request->handle, true, false, &handle);
	if (r < 0)
		return r;
	for (;;) {
		size_t part = left < PROTO_CHUNK ? left : PROTO_CHUNK;

		n = read_whole(handle->fd, lane->channel.buffer, part, offset);
		if (n < 0)
			r = (int) n;
		if (n < PROTO_CHUNK || left == PROTO_CHUNK)
			break;
		r = send_chunk(lane, (size_t) n);
		if (r < 0)
			break;
		left -= PROTO_CHUNK;
		offset += PROTO_CHUNK;
	}
	nodes_handle_put(session->nodes, handle);
	if (r == 0)
		ret_reply->data = (struct proto_data){ .length = (size_t) n,
			                               .available = (size_t) n,
			                               .bytes = lane->channel.buffer };
	return r;
}

/*
 * Writes all of it. How much was written before an error, or the error when it is nothing. A disk that is full only of
 * what the guest has just removed gets one more try.
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

/* The data comes through the lane's buffer, part by part; most: of it are written. */
static ssize_t write_data(struct lane *lane, int fd, const struct proto_write_request *request, uint64_t most)
{
	bool append = (request->flags & PROTO_WRITE_APPEND) != 0;
	const void *bytes = request->data.bytes;
	ssize_t size = (ssize_t) request->data.available, n;
	size_t done = 0;

	while (size > 0 && done < most) {
		if ((uint64_t) size > most - done)
			size = (ssize_t) (most - done);
		n = write_whole(lane->session, fd, bytes, (size_t) size, request->offset + done, append);
		if (n < 0)
			return done > 0 ? (ssize_t) done : n;
		done += (size_t) n;
		if (n < size)
			break;
		size = proto_channel_more(&lane->channel, &bytes);
		if (size < 0)
			return -EBADMSG; /* the lane is dead, and nobody is there for an answer */
	}
	return (ssize_t) done;
}

int worker_write(struct lane *lane, const struct proto_write_request *request, struct proto_write_reply *ret_reply)
{
	struct session *session = lane->session;
	struct space_claim claim;
	struct handle *handle;
	ssize_t n;
	int r;

	if (request->offset > (uint64_t) INT64_MAX - request->data.length)
		return -EFBIG;
	r = file_handle(session, request->handle, false, true, &handle);
	if (r < 0)
		return r;
	r = space_claim(session, handle->node, handle->fd, request->data.length, &claim);
	if (r < 0) {
		nodes_handle_put(session->nodes, handle);
		return r;
	}
	/* Before the data, as the kernel does: what cannot lose its privileges is not written. */
	if ((request->flags & PROTO_WRITE_KILL_PRIVILEGES) != 0)
		r = ownership_kill_privileges(session, handle->fd);
	if (r == 0) {
		n = write_data(lane, handle->fd, request, claim.bytes);
		r = n < 0 ? (int) n : durable_write(handle->fd, request->flags);
	}
	if (r == 0) {
		ret_reply->written = (uint32_t) n;
		r = attributes_of(session, handle->node, handle->fd, &ret_reply->attr, NULL);
	}
	space_settle(session, &claim);
	nodes_handle_put(session->nodes, handle);
	return r;
}

int worker_release(struct lane *lane, const struct proto_release_request *request,
                   struct proto_release_reply *ret_reply)
{
	nodes_close(lane->session->nodes, request->handle);
	return 0;
}

int worker_fsync(struct lane *lane, const struct proto_fsync_request *request, struct proto_fsync_reply *ret_reply)
{
	struct session *session = lane->session;
	struct handle *handle;
	int r = nodes_handle(session->nodes, request->handle, &handle);

	if (r < 0)
		return r;
	if (request->datasync != 0)
		r = FAULT(WORKER_SYNC, fdatasync(handle->fd)) < 0 ? -errno : 0;
	else
		r = FAULT(WORKER_SYNC, fsync(handle->fd)) < 0 ? -errno : 0;
	nodes_handle_put(session->nodes, handle);
	return r;
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

/* In steps as large as may be claimed at a time: other sessions know nothing of this one's claims. */
static int allocate_claimed(struct session *session, const struct handle *handle,
                            const struct proto_fallocate_request *request)
{
	uint64_t offset = request->offset, end = request->offset + request->length;
	int r = space_fits(session, handle->node, handle->fd, request->length);

	while (r == 0 && offset < end) {
		struct space_claim claim;

		r = space_claim(session, handle->node, handle->fd, end - offset, &claim);
		if (r < 0)
			break;
		r = allocate(session, handle->fd, request->mode, offset, claim.bytes);
		offset += claim.bytes;
		space_settle(session, &claim);
	}
	return r;
}

int worker_fallocate(struct lane *lane, const struct proto_fallocate_request *request,
                     struct proto_fallocate_reply *ret_reply)
{
	struct session *session = lane->session;
	struct handle *handle;
	int r;

	if (request->length == 0)
		return -EINVAL;
	if (request->offset > (uint64_t) INT64_MAX - request->length)
		return -EFBIG;
	r = file_handle(session, request->handle, false, true, &handle);
	if (r < 0)
		return r;
	r = ownership_kill_privileges(session, handle->fd);
	if (r == 0 && (request->mode & PROTO_FALLOCATE_PUNCH_HOLE) != 0)
		r = allocate(session, handle->fd, request->mode, request->offset, request->length);
	else if (r == 0)
		r = allocate_claimed(session, handle, request);
	if (r == 0)
		r = durable_contents(session, handle->fd);
	if (r == 0)
		r = attributes_of(session, handle->node, handle->fd, &ret_reply->attr, NULL);
	nodes_handle_put(session->nodes, handle);
	return r;
}

int worker_lseek(struct lane *lane, const struct proto_lseek_request *request, struct proto_lseek_reply *ret_reply)
{
	struct session *session = lane->session;
	struct handle *handle;
	off_t at;
	int r;

	if (request->whence != SEEK_DATA && request->whence != SEEK_HOLE)
		return -EINVAL;
	r = file_handle(session, request->handle, false, false, &handle);
	if (r < 0)
		return r;
	/* Nothing else uses the position of a file's descriptor. */
	at = FAULT(WORKER_SEEK, lseek(handle->fd, (off_t) request->offset, (int) request->whence));
	r = at < 0 ? -errno : 0;
	nodes_handle_put(session->nodes, handle);
	if (r == 0)
		ret_reply->offset = (uint64_t) at;
	return r;
}

/* Bounded, so that a huge range does not keep a lane for minutes; the guest's kernel asks again for the rest. */
enum { COPY_STEP = 64 * 1024 * 1024 };

static int copy(const struct handle *in, const struct handle *out, const struct proto_copy_range_request *request,
                size_t length, uint64_t *ret_copied)
{
	off_t from = (off_t) request->offset_in, to = (off_t) request->offset_out;
	ssize_t n;

	do
		n = FAULT_SIZE(WORKER_COPY, length, copy_file_range(in->fd, &from, out->fd, &to, length, 0));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_copied = (uint64_t) n;
	return 0;
}

int worker_copy_range(struct lane *lane, const struct proto_copy_range_request *request,
                      struct proto_copy_range_reply *ret_reply)
{
	uint64_t length = request->length < COPY_STEP ? request->length : COPY_STEP;
	struct session *session = lane->session;
	struct space_claim claim;
	struct handle *in, *out;
	int r = file_handle(session, request->handle_in, true, false, &in);

	if (r < 0)
		return r;
	r = file_handle(session, request->handle_out, false, true, &out);
	if (r < 0) {
		nodes_handle_put(session->nodes, in);
		return r;
	}
	r = space_claim(session, out->node, out->fd, length, &claim);
	if (r == 0) {
		r = ownership_kill_privileges(session, out->fd);
		if (r == 0)
			r = copy(in, out, request, (size_t) claim.bytes, &ret_reply->copied);
		space_settle(session, &claim);
	}
	if (r == 0)
		r = durable_contents(session, out->fd);
	if (r == 0)
		r = attributes_of(session, out->node, out->fd, &ret_reply->attr, NULL);
	nodes_handle_put(session->nodes, out);
	nodes_handle_put(session->nodes, in);
	return r;
}
