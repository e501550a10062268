/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker for the supervisor's test: the view_uid of its configuration says what it does. It answers what it got on
 * the guest's connection, a byte for each thing.
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fileserver/common/handover.h"
#include "tests/fileserver/broker/fake-worker.h"

static unsigned count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (directory != NULL && readdir(directory) != NULL)
		count++;
	if (directory != NULL)
		(void) closedir(directory);
	/* ".", ".." and the directory itself. */
	return count - 3;
}

static void tell(enum worker_message_type type, const char *text)
{
	struct worker_message message = { .type = type };

	strncpy(message.text, text, sizeof(message.text) - 1);
	(void) send(WORKER_FD_BROKER, &message, sizeof(message), MSG_NOSIGNAL);
}

static void say(char byte)
{
	(void) send(WORKER_FD_CONNECTION, &byte, 1, MSG_NOSIGNAL);
}

static void serve(bool deaf)
{
	for (;;) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct worker_message message;
		struct iovec iov = { .iov_base = &message, .iov_len = sizeof(message) };
		struct msghdr header = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		struct cmsghdr *cmsg;

		if (recvmsg(WORKER_FD_BROKER, &header, 0) <= 0)
			return;
		cmsg = CMSG_FIRSTHDR(&header);
		if (message.type == WORKER_LANE && cmsg != NULL) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
			(void) send(fd, "L", 1, MSG_NOSIGNAL);
		}
		if (message.type == WORKER_READ_ONLY && !deaf) {
			say('R');
			tell(WORKER_SETTLED, "");
		}
		if (message.type == WORKER_STOP && !deaf) {
			say((char) ('0' + message.goodbye));
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct worker_message message;

	if (argc != 2 || strcmp(argv[1], "--worker") != 0 ||
	    recv(WORKER_FD_BROKER, &message, sizeof(message), 0) != sizeof(message) || message.type != WORKER_CONFIG)
		return 1;
	switch (message.config.view_uid) {
	case FAKE_CRASH:
		abort();
	case FAKE_FAIL:
		tell(WORKER_FAILED, "the sandbox is broken");
		return 71;
	case FAKE_NONSENSE:
		tell(WORKER_LANE, "");
		(void) pause();
		return 0;
	case FAKE_CRASH_LATER:
		tell(WORKER_READY, "");
		abort();
	default:
		tell(WORKER_READY, "");
	}
	say(count_descriptors() == 7 ? 'D' : 'X');
	say(message.config.flags & PROTO_HELLO_READ_ONLY ? 'r' : 'w');
	serve(message.config.view_uid == FAKE_DEAF);
	return 0;
}
