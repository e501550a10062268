/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of any bytes into a channel, read as frames and as a reply with data. */
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/channel.h"

static void run(const uint8_t *bytes, size_t size, bool data)
{
	static uint8_t memory[PROTO_CHUNK];
	struct proto_channel channel;
	struct proto_header header;
	struct proto_reader reader;
	uint8_t fixed[16];
	const void *more;
	size_t length;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	(void) !write(fds[0], bytes, size);
	close(fds[0]);
	if (proto_channel_init(&channel, fds[1], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, 1000) < 0) {
		close(fds[1]);
		return;
	}
	if (data)
		(void) proto_channel_receive_data(&channel, PROTO_OPENDIR, 1, fixed, sizeof(fixed), memory,
		                                  sizeof(memory), &length, &header);
	else
		while (proto_channel_next(&channel, &header, &reader) == 0)
			while (proto_channel_more(&channel, &more) > 0)
				;
	proto_channel_done(&channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size > 60000)
		return 0;
	run(bytes, size, false);
	run(bytes, size, true);
	return 0;
}
