/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE over io_uring. */
#include "guest-fuse/mount/kernel/uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "guest-fuse/mount/server/request.h"
#include "protocol/faults.h"
#include "protocol/lock.h"
#include "protocol/log.h"

/* From include/uapi/linux/fuse.h of Linux 6.14: older headers, with which this builds, do not have it. */
enum { URING_REGISTER = 1, URING_COMMIT_AND_FETCH = 2 };

struct uring_in_out {
	uint64_t flags, commit_id;
	uint32_t payload_size, padding;
	uint64_t reserved;
};

/* What the kernel fills, and reads the answer from: the header of either, the request's fixed fields, the rest's size.
 */
struct uring_header {
	uint8_t in_out[128], op_in[128];
	struct uring_in_out entry;
};

/* In the submission. */
struct uring_command {
	uint64_t flags, commit_id;
	uint16_t queue;
	uint8_t padding[6];
};

enum {
	SUBMISSIONS = 8,
	SUBMISSION_SIZE = 128,
	ENTRIES_MAX = 4096,            /* of all queues */
	PAYLOAD_SIZE = PROTO_DATA_MAX, /* the kernel wants max_write of INIT's answer */
};

struct uring_entry {
	struct uring_ring *ring;
	struct uring_header *header;
	uint8_t *payload;   /* PAYLOAD_SIZE bytes, of which those that are never touched are never there */
	uint64_t commit_id; /* of the request that came with it last */
	uint16_t queue;
	int result;               /* with the lock: 0, or why nothing comes with it any more */
	struct uring_entry *next; /* with the lock: in the ring's backlog */
};

struct uring_ring {
	struct lock lock; /* guards both ends of io, and thereby what one thread leaves in an entry for the next one */
	struct io_uring io;
	bool made;
	int device;
	struct uring_entry *first, **last; /* backlog: what uring_give_up() has found and nobody took yet */
	cpu_set_t cpus;                    /* whose queues it serves */
};

struct uring {
	unsigned rings, count; /* count: of entries */
	struct uring_ring ring[URING_RINGS_MAX];
	struct uring_entry *entries;
	struct uring_header *headers;
	uint8_t *payloads;
	cpu_set_t all; /* where the mount's threads may run */
};

unsigned uring_wanted(unsigned threads)
{
	unsigned cpus = (unsigned) get_nprocs_conf(), can = threads > 2 ? (threads - 2) / 2 : 0;
	unsigned most = can < URING_RINGS_MAX ? can : URING_RINGS_MAX;

	/* A set of CPUs has no room for more, and each queue needs an entry. */
	if (cpus > CPU_SETSIZE)
		return 0;
	return cpus < most ? cpus : most;
}

static int make_ring(struct uring_ring *ring, unsigned completions)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN |
		         IORING_SETUP_TASKRUN_FLAG,
		.cq_entries = completions,
	};
	int r = FAULT_NUMBER(MOUNT_URING, -io_uring_queue_init_params(SUBMISSIONS, &ring->io, &params));

	ring->made = r == 0;
	return -r;
}

static int make_entries(struct uring *uring, unsigned queues, unsigned each)
{
	uring->count = queues * each;
	uring->entries = calloc(uring->count, sizeof(*uring->entries));
	uring->headers = calloc(uring->count, sizeof(*uring->headers));
	uring->payloads = mmap(NULL, (size_t) uring->count * PAYLOAD_SIZE, PROT_READ | PROT_WRITE,
	                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (uring->payloads == MAP_FAILED)
		uring->payloads = NULL;
	if (uring->entries == NULL || uring->headers == NULL || uring->payloads == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < uring->count; i++)
		uring->entries[i] = (struct uring_entry){
			.ring = &uring->ring[i % queues % uring->rings],
			.header = &uring->headers[i],
			.payload = uring->payloads + (size_t) i * PAYLOAD_SIZE,
			.queue = (uint16_t) (i % queues),
		};
	return 0;
}

int uring_new(int device, unsigned rings, unsigned entries, struct uring **ret_uring)
{
	unsigned queues = (unsigned) get_nprocs_conf();
	unsigned each = entries * queues <= ENTRIES_MAX ? entries : ENTRIES_MAX / queues;
	struct uring *uring = calloc(1, sizeof(*uring));
	int r;

	assert(rings > 0 && rings <= URING_RINGS_MAX);
	if (uring == NULL)
		return -ENOMEM;
	uring->rings = rings;
	for (unsigned i = 0; i < rings; i++) {
		lock_init(&uring->ring[i].lock);
		uring->ring[i].device = device;
		uring->ring[i].last = &uring->ring[i].first;
	}
	/* The process's first thread is never pinned. */
	r = sched_getaffinity(getpid(), sizeof(uring->all), &uring->all) < 0 ? -errno : 0;
	if (r == 0)
		r = make_entries(uring, queues, each);
	for (unsigned i = 0; i < queues; i++)
		CPU_SET(i, &uring->ring[i % rings].cpus);
	for (unsigned i = 0; i < rings && r == 0; i++)
		r = make_ring(&uring->ring[i], uring->count);
	if (r < 0) {
		uring_free(uring);
		return r;
	}
	*ret_uring = uring;
	return 0;
}

void uring_free(struct uring *uring)
{
	if (uring == NULL)
		return;
	for (unsigned i = 0; i < uring->rings; i++) {
		if (uring->ring[i].made)
			io_uring_queue_exit(&uring->ring[i].io);
		lock_done(&uring->ring[i].lock);
	}
	if (uring->payloads != NULL)
		(void) munmap(uring->payloads, (size_t) uring->count * PAYLOAD_SIZE);
	free(uring->headers);
	free(uring->entries);
	free(uring);
}

unsigned uring_rings(const struct uring *uring)
{
	return uring->rings;
}

static int submit(struct uring_ring *ring, const struct io_uring_sqe *what, const struct uring_command *command)
        LOCK_HELD(ring->lock);
/* What is submitted is taken at once, so there always is room. */
static int submit(struct uring_ring *ring, const struct io_uring_sqe *what, const struct uring_command *command)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->io);
	int r;

	if (sqe == NULL)
		return -EBUSY;
	memset(sqe, 0, SUBMISSION_SIZE);
	*sqe = *what;
	memcpy((uint8_t *) sqe + offsetof(struct io_uring_sqe, cmd), command, sizeof(*command));
	do
		r = io_uring_submit(&ring->io);
	while (r == -EAGAIN || r == -EINTR);
	return r < 0 ? r : 0;
}

static int submit_entry(struct uring_entry *entry, uint32_t operation, uint64_t commit_id)
{
	const struct iovec iov[] = {
		{ .iov_base = entry->header, .iov_len = sizeof(*entry->header) },
		{ .iov_base = entry->payload, .iov_len = PAYLOAD_SIZE },
	};
	const struct uring_command command = { .commit_id = commit_id, .queue = entry->queue };
	const struct io_uring_sqe sqe = {
		.opcode = IORING_OP_URING_CMD,
		.fd = entry->ring->device,
		.cmd_op = operation,
		.addr = (uint64_t) (uintptr_t) iov,
		.len = sizeof(iov) / sizeof(iov[0]),
		.user_data = (uint64_t) (uintptr_t) entry,
	};
	int r;

	lock_take(&entry->ring->lock);
	r = submit(entry->ring, &sqe, &command);
	lock_give(&entry->ring->lock);
	return r;
}

int uring_register(struct uring *uring)
{
	int r = 0;

	/* The first entry of each queue before the second one of any. */
	for (unsigned i = 0; i < uring->count && r == 0; i++)
		r = submit_entry(&uring->entries[i], URING_REGISTER, 0);
	return r;
}

void uring_pin(const struct uring *uring, unsigned ring)
{
	/* Fails where these CPUs are not for this process: then it is slower. */
	(void) sched_setaffinity(0, sizeof(cpu_set_t), &uring->ring[ring].cpus);
}

void uring_unpin(const struct uring *uring)
{
	(void) sched_setaffinity(0, sizeof(cpu_set_t), &uring->all);
}

/* The request as /dev/fuse gives it: header, fixed fields, the rest. */
static int copy_request(const struct uring_entry *entry, struct request *request)
{
	const struct fuse_in_header *in = (const void *) entry->header->in_out;
	const size_t payload = entry->header->entry.payload_size, size = in->len;
	uint8_t *to = request->buffer;
	size_t fixed;

	if (payload > PAYLOAD_SIZE || size < sizeof(*in) + payload || size > REQUEST_BUFFER_SIZE)
		return -EBADMSG;
	fixed = size - sizeof(*in) - payload;
	if (fixed > sizeof(entry->header->op_in))
		return -EBADMSG;
	memcpy(to, in, sizeof(*in));
	memcpy(to + sizeof(*in), entry->header->op_in, fixed);
	memcpy(to + sizeof(*in) + fixed, entry->payload, payload);
	request->size = size;
	return 0;
}

static bool fetch(struct uring_ring *ring) LOCK_HELD(ring->lock);
/* Appends what the kernel has handed over next to the backlog. False: there is nothing. */
static bool fetch(struct uring_ring *ring)
{
	struct uring_entry *entry;
	struct io_uring_cqe *cqe;

	if (io_uring_peek_cqe(&ring->io, &cqe) != 0)
		return false;
	entry = io_uring_cqe_get_data(cqe);
	if (entry != NULL) { /* else it is of uring_wake() */
		entry->result = cqe->res;
		entry->next = NULL;
		*ring->last = entry;
		ring->last = &entry->next;
	}
	io_uring_cqe_seen(&ring->io, cqe);
	return true;
}

static void remove_from(struct uring_ring *ring, struct uring_entry **at) LOCK_HELD(ring->lock);
static void remove_from(struct uring_ring *ring, struct uring_entry **at)
{
	struct uring_entry *entry = *at;

	*at = entry->next;
	if (ring->last == &entry->next)
		ring->last = at;
}

int uring_take(struct uring *uring, unsigned number, struct request *request)
{
	struct uring_ring *ring = &uring->ring[number];
	struct uring_entry *entry;
	int r;

	lock_take(&ring->lock);
	if (ring->first == NULL)
		(void) fetch(ring);
	entry = ring->first;
	if (entry != NULL)
		remove_from(ring, &ring->first);
	lock_give(&ring->lock);
	if (entry == NULL)
		return 0;
	r = entry->result == 0 ? copy_request(entry, request) : entry->result;
	if (r < 0) {
		if (r != -ENOTCONN && r != -ECANCELED)
			log_error("the kernel's request by io_uring: %s", strerror(-r));
		return r;
	}
	entry->commit_id = entry->header->entry.commit_id;
	request->entry = entry;
	return 1;
}

static struct uring_entry *take_dying(struct uring_ring *ring, bool (*dies)(pid_t pid)) LOCK_HELD(ring->lock);
/* Takes out of the backlog what was asked by somebody who dies. */
static struct uring_entry *take_dying(struct uring_ring *ring, bool (*dies)(pid_t pid))
{
	struct uring_entry *dying = NULL;

	for (struct uring_entry **at = &ring->first; *at != NULL;) {
		struct uring_entry *entry = *at;
		const struct fuse_in_header *in = (const void *) entry->header->in_out;

		if (entry->result != 0 || in->pid == 0 || !dies((pid_t) in->pid)) {
			at = &entry->next;
			continue;
		}
		remove_from(ring, at);
		entry->next = dying;
		dying = entry;
	}
	return dying;
}

void uring_give_up(struct uring *uring, unsigned number, const _Atomic int *readers, bool (*dies)(pid_t pid))
{
	struct uring_ring *ring = &uring->ring[number];
	struct uring_entry *dying = NULL, *next;

	lock_take(&ring->lock);
	/* Whoever begins to read after this question finds in the backlog what is taken out of the ring here. */
	if (atomic_load(readers) == 0) {
		while (fetch(ring))
			;
		dying = take_dying(ring, dies);
	}
	lock_give(&ring->lock);
	for (; dying != NULL; dying = next) {
		const struct fuse_in_header *in = (const void *) dying->header->in_out;
		struct fuse_out_header out = { .len = sizeof(out), .error = -EINTR, .unique = in->unique };
		const struct iovec iov = { .iov_base = &out, .iov_len = sizeof(out) };

		next = dying->next;
		dying->commit_id = dying->header->entry.commit_id;
		(void) uring_answer(dying, &iov, 1);
	}
}

void uring_wait(struct uring *uring, unsigned ring)
{
	(void) io_uring_enter((unsigned) uring->ring[ring].io.ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
}

void uring_wake(struct uring *uring)
{
	const struct io_uring_sqe sqe = { .opcode = IORING_OP_NOP };
	const struct uring_command none = { 0 };

	for (unsigned i = 0; i < uring->rings; i++) {
		lock_take(&uring->ring[i].lock);
		(void) submit(&uring->ring[i], &sqe, &none);
		lock_give(&uring->ring[i].lock);
	}
}

ssize_t uring_answer(struct uring_entry *entry, const struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	size_t at = 0, left = out->len - sizeof(*out);
	int r;

	if (left > PAYLOAD_SIZE) {
		errno = EINVAL;
		return -1;
	}
	memcpy(entry->header->in_out, out, sizeof(*out));
	/* Also what follows the header in the same buffer. */
	for (int i = 0; i < count && left > at; i++) {
		size_t skip = i == 0 ? sizeof(*out) : 0, size = iov[i].iov_len - skip;

		if (size > left - at)
			size = left - at;
		memcpy(entry->payload + at, (const uint8_t *) iov[i].iov_base + skip, size);
		at += size;
	}
	entry->header->entry.payload_size = (uint32_t) at;
	r = submit_entry(entry, URING_COMMIT_AND_FETCH, entry->commit_id);
	if (r < 0) {
		log_error("an answer by io_uring: %s", strerror(-r));
		errno = -r;
		return -1;
	}
	return (ssize_t) (sizeof(*out) + at);
}
