/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of any content to a session's data lane. Input: requests, each an operation, a length and payload bytes; ids
 * of nodes and handles in it are mapped to small numbers, so that many of them exist. The session must answer or end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/log.h"
#include "tests/support/share.h"

static struct share *share;

static void end(void)
{
	if (share != NULL)
		share_free(share);
	share = NULL;
}

static void begin(void)
{
	static bool registered;

	if (!registered)
		(void) atexit(end);
	registered = true;
	log_init("fuzz", LOG_LEVEL_ERROR);
	share = share_new(0, 64);
	if (share == NULL)
		abort();
	share_host_write(share, "a", "content of a file");
	(void) mkdirat(share->host, "d", 0755);
	(void) symlinkat("/etc/passwd", share->host, "l");
	(void) mkfifoat(share->host, "p", 0600);
}

/* True while the lane lives. */
static bool request(unsigned op, uint8_t *payload, size_t size)
{
	const struct proto_op_info *info = proto_op_info(op);
	struct proto_header header = { .op = (uint16_t) op, .id = ++share->raw.id, .length = (uint32_t) size }, reply;
	struct proto_reader reader;
	int r;

	if (info == NULL || info->lane != PROTO_LANE_DATA)
		return true;
	/* Small slots, generation 1, so that a byte is enough to name what is there. */
	for (size_t at = 0; at + 8 <= size && at < 8; at += 8) {
		memset(payload + at + 1, 0, 7);
		payload[at] %= 8;
		payload[at + 4] = 1;
	}
	if (raw_frame(&share->raw, &header, payload, size) < 0)
		return false;
	if (info->replay == PROTO_REPLAY_NOREPLY)
		return true;
	do
		r = proto_channel_next(&share->raw.channel, &reply, &reader);
	while (r == 0 && (reply.flags & PROTO_FRAME_MORE) != 0);
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t payload[256];

	if (share == NULL)
		begin();
	while (size >= 2) {
		size_t length = bytes[1] < size - 2 ? bytes[1] : size - 2;

		memcpy(payload, bytes + 2, length);
		if (!request(32 + bytes[0] % 32, payload, length)) {
			end();
			return 0;
		}
		bytes += 2 + length;
		size -= 2 + length;
	}
	return 0;
}
