/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's main: takes over what the broker left for it, enters the sandbox, serves one mount, ends. */
#include "fileserver/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "fileserver/sandbox/sandbox.h"
#include "fileserver/worker/session/allotment.h"
#include "fileserver/worker/events.h"
#include "fileserver/worker/lanes.h"
#include "fileserver/worker/leases/leases.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "protocol/log.h"

/*
 * Receives one packet of the broker, with its descriptor if it has one. Returns 0; -ENOTCONN: the broker is gone;
 * -EBADMSG.
 */
static int receive(struct worker_message *message, int *ret_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = message, .iov_len = sizeof(*message) };
	struct msghdr header = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	*ret_fd = -EBADF;
	do
		n = FAULT(WORKER_BROKER, recvmsg(WORKER_FD_BROKER, &header, MSG_CMSG_CLOEXEC));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -ENOTCONN : -errno;
	for (cmsg = CMSG_FIRSTHDR(&header); cmsg != NULL; cmsg = CMSG_NXTHDR(&header, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	if (n != sizeof(*message)) {
		*ret_fd = close_fd(*ret_fd);
		return -EBADMSG;
	}
	return 0;
}

static void tell(enum worker_message_type type, const char *text)
{
	struct worker_message message = { .type = type };

	(void) snprintf(message.text, sizeof(message.text), "%s", text);
	(void) send(WORKER_FD_BROKER, &message, sizeof(message), MSG_NOSIGNAL);
}

static int fail(const char *what, int error)
{
	char text[256];

	(void) snprintf(text, sizeof(text), "%s: %s", what, strerror(-error));
	/* The broker logs it: it knows how many workers fail so. */
	tell(WORKER_FAILED, text);
	return EX_OSERR;
}

/* Acts on one message of the broker; always takes over fd. Returns false when the session is to end. */
static bool take_message(struct service *service, struct worker_message *message, int fd)
{
	_cleanup_close_ int descriptor = fd;

	switch (message->type) {
	case WORKER_LANE:
		if (descriptor >= 0)
			(void) lanes_add(service, TAKE_FD(descriptor), message->proof_id);
		proto_counter_add(&service->session.counters->lanes_taken, 1);
		return true;
	case WORKER_LIMITS:
		allotment_take(&service->session, message->limits.nodes_max, message->limits.descriptors_max);
		return true;
	case WORKER_LOG:
		if (descriptor >= 0)
			(void) dup2(descriptor, STDERR_FILENO);
		return true;
	case WORKER_PROTECT: {
		int r = descriptor < 0 ? -EBADF : protect_take(&service->session.protect, descriptor);

		leases_drop_names(service->session.leases);
		if (r == 0)
			return true;
		(void) fail("cannot protect what the server is steered by", r);
		service_end(service, PROTO_GOODBYE_DONE, "The file server cannot go on with this mount.");
		return false;
	}
	case WORKER_READ_ONLY:
		/* When it has not settled in time the broker kills this process. */
		if (lanes_make_read_only(service, WORKER_SETTLE_MS))
			tell(WORKER_SETTLED, "");
		return true;
	case WORKER_SYNC:
		service_sync(service, message->sync.ticket);
		return true;
	case WORKER_STOP:
		message->text[sizeof(message->text) - 1] = '\0';
		service_end(service, message->goodbye, message->text);
		return false;
	default:
		return true;
	}
}

/* Serves the broker's messages until the session or the broker ends. */
static void wait_for_end(struct service *service)
{
	struct pollfd fds[3] = { { .fd = WORKER_FD_BROKER, .events = POLLIN },
		                 { .fd = service->end_fd, .events = POLLIN },
		                 { .fd = nodes_timer(service->session.nodes), .events = POLLIN } };

	for (;;) {
		struct worker_message message;
		int fd;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents != 0)
			return;
		if (fds[2].revents != 0)
			nodes_tick(service->session.nodes);
		if (fds[0].revents == 0)
			continue;
		if (receive(&message, &fd) < 0) {
			service_end(service, PROTO_GOODBYE_DONE, "the file server stopped");
			return;
		}
		if (!take_message(service, &message, fd))
			return;
	}
}

static void on_refused(void *context, uint32_t subject)
{
	const struct worker_message message = { .type = WORKER_REFUSED, .subject = subject };

	(void) send(WORKER_FD_BROKER, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_wants(void)
{
	const struct worker_message message = { .type = WORKER_WANTS };

	(void) send(WORKER_FD_BROKER, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The broker has asked, and reads what it is told; a ticket must not be lost. */
static void on_synced(uint64_t ticket, uint32_t kept_ms)
{
	const struct worker_message message = { .type = WORKER_SYNCED,
		                                .sync = { .ticket = ticket, .kept_ms = kept_ms } };

	(void) send(WORKER_FD_BROKER, &message, sizeof(message), MSG_NOSIGNAL);
}

/* Receives the protect list, before the first request is served. */
static int protect_first(struct service *service)
{
	struct worker_message message;
	_cleanup_close_ int fd = -EBADF;
	int r = receive(&message, &fd);

	if (r == 0 && (message.type != WORKER_PROTECT || fd < 0))
		r = -EBADMSG;
	service->session.protect.refused = on_refused;
	return r < 0 ? r : protect_take(&service->session.protect, fd);
}

static int serve(const struct worker_config *config, struct proto_counters *counters)
{
	struct service *service;
	int r = service_new(config, WORKER_FD_ROOT, WORKER_FD_CONNECTION, counters, &service);

	if (r < 0)
		return fail("cannot serve the share", r);
	service->session.wants = on_wants;
	service->synced = on_synced;
	r = protect_first(service);
	if (r < 0) {
		service_free(service);
		return fail("cannot protect what the server is steered by", r);
	}
	tell(WORKER_READY, "");
	r = events_start(service);
	if (r < 0) {
		/* The guest has left: no failure of the worker. */
		bool left = service->event.broken && (r == -EPIPE || r == -ECONNRESET || r == -ETIMEDOUT);

		/* Some threads may run already. */
		if (service_stop(service))
			service_free(service);
		if (!left)
			return fail("cannot welcome the guest", r);
		tell(WORKER_BLAMES, "");
		return EX_OK;
	}
	wait_for_end(service);
	if (atomic_load(&service->blamed))
		tell(WORKER_BLAMES, "");
	if (service_stop(service))
		service_free(service);
	return EX_OK;
}

int worker_main(void)
{
	const int expected[] = { WORKER_FD_CONNECTION, WORKER_FD_ROOT, WORKER_FD_BROKER, WORKER_FD_COUNTERS };
	struct worker_message message;
	struct proto_counters *counters;
	bool own_files;
	int fd, r = receive(&message, &fd);

	if (r == 0 && (message.type != WORKER_CONFIG || fd >= 0))
		r = -EBADMSG;
	if (r < 0)
		return fail("no configuration from the file server", r);
	counters = FAULT(WORKER_COUNTERS,
	                 mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_FD_COUNTERS, 0));
	if (counters == MAP_FAILED)
		return fail("cannot map the counters", -errno);
	umask(0);
	log_init("bindshare-worker", (enum log_level) message.config.log_level);
	log_set_format((enum log_format) message.config.log_format);
	/* A user namespace would hide other users' ids, which owner=host shows. */
	own_files = (message.config.flags & PROTO_HELLO_OWNER_HOST) == 0;
	r = sandbox_enter(expected, ARRAY_SIZE(expected), own_files);
	if (r < 0)
		return fail("cannot lock down", r);
	return serve(&message.config, counters);
}
