/* SPDX-License-Identifier: Apache-2.0 */
/* A worker as a process. */
#include "fileserver/broker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "protocol/cleanup.h"

/* Memory for the counters that the worker writes and the broker reads, of a size that neither can change. */
static int make_counters(const struct proto_counters **ret_counters)
{
	_cleanup_close_ int fd = memfd_create("bindshare-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory;

	if (fd < 0 || ftruncate(fd, sizeof(struct proto_counters)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	memory = mmap(NULL, sizeof(struct proto_counters), PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_counters = memory;
	return TAKE_FD(fd);
}

/*
 * What a worker gets of the environment: what its libraries need to be found, and what tests give sanitizers. Whatever
 * else is in there, keys and addresses, is nothing that a process needs that reads a guest's bytes.
 */
static const char *const passed_on[] = {
#ifdef BINDSHARE_WITH_FAULTS
	"BINDSHARE_FAULTS",
#endif
	"LD_LIBRARY_PATH",  "ASAN_OPTIONS", "LSAN_OPTIONS",      "TSAN_OPTIONS",
	"UBSAN_OPTIONS",    "GCOV_PREFIX",  "GCOV_PREFIX_STRIP", "LLVM_PROFILE_FILE",
};

/* The strings are the environment's own. */
static void make_environment(char *environment[ARRAY_SIZE(passed_on) + 1])
{
	size_t count = 0;

	for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
		for (size_t i = 0; i < ARRAY_SIZE(passed_on) && count < ARRAY_SIZE(passed_on); i++) {
			size_t length = strlen(passed_on[i]);

			if (strncmp(*entry, passed_on[i], length) == 0 && (*entry)[length] == '=')
				environment[count++] = *entry;
		}
	environment[count] = NULL;
}

static int spawn(struct process *process, uv_loop_t *loop, const char *executable, const int fds[7], uv_exit_cb exited)
{
	char *arguments[] = { "bindshare-fileserver", "--worker", NULL };
	char *environment[ARRAY_SIZE(passed_on) + 1];
	uv_stdio_container_t stdio[7];
	uv_process_options_t options = {
		.file = executable,
		.args = arguments,
		.cwd = "/",
		.env = environment,
		.exit_cb = exited,
		.stdio = stdio,
		.stdio_count = ARRAY_SIZE(stdio),
	};

	make_environment(environment);
	for (unsigned i = 0; i < ARRAY_SIZE(stdio); i++)
		stdio[i] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = fds[i] };
	return uv_spawn(loop, &process->handle, &options);
}

int process_start(struct process *process, uv_loop_t *loop, const char *executable, int connection, int root,
                  int protect, const struct worker_config *config, uv_exit_cb exited)
{
	struct worker_message message = { .type = WORKER_CONFIG, .config = *config };
	const struct worker_message list = { .type = WORKER_PROTECT };
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int counters = -EBADF, ours = -EBADF, theirs = -EBADF;
	int pair[2], r;

	*process = (struct process){ .channel = -EBADF };
	if (null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	/* Only our end: the other is the worker's to block on. */
	if (fcntl(ours, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return -errno;
	counters = make_counters(&process->counters);
	if (counters < 0)
		return counters;
	process->channel = TAKE_FD(ours);
	r = process_send(process, &message, -1);
	if (r == 0)
		r = process_send(process, &list, protect);
	if (r == 0) {
		const int fds[7] = { null, null, STDERR_FILENO, connection, root, theirs, counters };

		r = spawn(process, loop, executable, fds, exited);
	}
	if (r < 0)
		process_done(process);
	return r;
}

int process_send(const struct process *process, const struct worker_message *message, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *) message, .iov_len = sizeof(*message) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do
		n = sendmsg(process->channel, &header, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int process_receive(const struct process *process, struct worker_message *ret_message)
{
	struct worker_message message;
	ssize_t n;

	/* recv() drops descriptors that a worker may send along. */
	do
		n = recv(process->channel, &message, sizeof(message), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -ENOTCONN : -errno;
	if (n == 0)
		return -ENOTCONN;
	if (n != sizeof(message))
		return -EBADMSG;
	*ret_message = message;
	return 0;
}

void process_add_counters(struct proto_counters *sum, const struct proto_counters *counters)
{
	for (unsigned i = 0; i < PROTO_OP_LIMIT; i++) {
		const struct proto_counter *from = &counters->ops[i];
		struct proto_counter *to = &sum->ops[i];

		proto_counter_add(&to->count, proto_counter_get(&from->count));
		proto_counter_add(&to->errors, proto_counter_get(&from->errors));
		proto_counter_add(&to->bytes, proto_counter_get(&from->bytes));
		proto_counter_add(&to->nanoseconds, proto_counter_get(&from->nanoseconds));
	}
}

void process_done(struct process *process)
{
	process->channel = close_fd(process->channel);
	if (process->counters != NULL)
		(void) munmap((void *) process->counters, sizeof(*process->counters));
	process->counters = NULL;
}
