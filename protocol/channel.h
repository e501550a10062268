/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane: sends and receives frames over a connected stream socket. Calls block; one thread at a time uses a channel.
 *
 * Deadlines: once a frame has begun, in either direction, it must make progress. When no byte moves for stall_ms the
 * lane is dead (-ETIMEDOUT). Waiting for the first byte of a frame has no deadline: a server's idle lane waits for
 * ever, and a client that waits for a reply is woken by the session's heartbeat, which calls proto_channel_kill().
 *
 * Every error except -EAGAIN ends the lane.
 */
#pragma once

#include <sys/types.h>

#include "frame.h"
#include "spin.h"

enum { PROTO_HELD_MAX = 1024 };

struct proto_channel {
	int fd;
	uint8_t *buffer; /* received and not yet consumed: the bytes from start to end */
	size_t capacity, start, end;
	int stall_ms;
	bool patient; /* between two frames there is no limit */
	struct proto_spin spin;
	size_t held; /* bytes in held_bytes: frames to send before the next one */
	uint8_t held_bytes[PROTO_HELD_MAX];
	size_t unread; /* payload bytes of the current frame that are not yet in the buffer */
	bool broken;   /* a frame was, or may have been, sent only in part: nothing can follow it */
};

/*
 * Takes over fd on success. capacity: size of the receive buffer in bytes, PROTO_HEADER_SIZE and the longest message
 * that is expected: PROTO_SMALL_MAX on a data lane, PROTO_MOST_EVENT, PROTO_MOST_LIST_REPLY. A longer frame is
 * -EBADMSG. Makes the socket blocking and sets its time-outs. Returns 0, -ENOMEM, or an error of setsockopt(2).
 */
int proto_channel_init(struct proto_channel *channel, int fd, size_t capacity, int stall_ms);
void proto_channel_done(struct proto_channel *channel);

/*
 * From now on proto_channel_next() waits for a frame without a limit, so that nobody has to poll before. Returns 0 or
 * an error of setsockopt(2).
 */
int proto_channel_be_patient(struct proto_channel *channel);

/* Shuts both directions down: a thread that waits on the channel returns. Any thread may call it. */
void proto_channel_kill(struct proto_channel *channel);

/*
 * Waits until bytes have arrived, so that the next receive does not sleep. Polls first, while that is worth it (spin.h;
 * others as there), then sleeps for at most sleep_us microseconds (0: not at all, -1: no limit). into: bytes that
 * polling finds may go to the channel's buffer, where proto_channel_next() takes them. rival: a descriptor that ends
 * the sleep when there is something to read from it, or negative. Returns false when nothing came.
 */
bool proto_channel_await(struct proto_channel *channel, bool into, unsigned others, int64_t sleep_us, int rival);

/*
 * Waits for the next frame. ret_reader covers the part of the payload that fits into the buffer; ret_reader->missing
 * bytes are still to come (only when a data field ends the payload). The memory is valid until the next call. Returns
 * 0; -EAGAIN: nothing came for stall_ms (call again, or give up), unless the channel is patient; -ENOTCONN: the peer
 * closed between two frames; -EBADMSG: broken framing, or the caller has not consumed the payload before; -ETIMEDOUT,
 * -ECONNRESET and others: the connection broke.
 */
int proto_channel_next(struct proto_channel *channel, struct proto_header *ret_header, struct proto_reader *ret_reader);

/*
 * After proto_channel_next() left missing bytes: receives the next part, at most a buffer full, at *ret_bytes. Returns
 * its length (> 0), 0 when all has been received, or a negative errno.
 */
ssize_t proto_channel_more(struct proto_channel *channel, const void **ret_bytes);

/*
 * Receives bytes and discards them, frames or not. Returns 0; -EAGAIN: nothing came for stall_ms; or the error that
 * ended the lane.
 */
int proto_channel_discard(struct proto_channel *channel);

/*
 * Sends header, the bytes in writer and its tail as one frame; sets header->length. Returns 0 or a negative errno;
 * -EPIPE after an earlier frame could not be sent whole.
 */
int proto_channel_send(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer);
/*
 * The same for a frame that nobody waits for. A small one is held and sent together with the next frame, which saves a
 * system call on both sides, or by proto_channel_flush(): the caller must do one of the two.
 */
int proto_channel_hold(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer);
int proto_channel_flush(struct proto_channel *channel);

/*
 * Receives the reply to a request whose reply ends in a data field. fixed gets the fixed_size bytes of the fields
 * before the data, the data's length field included; data gets the data of all frames, at most size bytes. Returns 0
 * and the header of the last frame; -EBADMSG when the peer sends more, or another reply.
 */
int proto_channel_receive_data(struct proto_channel *channel, enum proto_op op, uint64_t id, void *fixed,
                               size_t fixed_size, void *data, size_t size, size_t *ret_length,
                               struct proto_header *ret_header);
