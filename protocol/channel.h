/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane: sends and receives frames over a connected stream socket. Blocking; one thread uses a channel at a time.
 *
 * Deadlines: a frame that has begun, in either direction, must go on: when no byte moves for stall_ms the lane is dead
 * (-ETIMEDOUT). Waiting for the first byte of a frame has no deadline here: a server's idle lane waits for ever, and
 * whoever waits for a reply is woken by the session's heartbeat, which calls proto_channel_kill().
 *
 * Every error but -EAGAIN ends the lane.
 */
#pragma once

#include <sys/types.h>

#include "frame.h"
#include "spin.h"

enum { PROTO_HELD_MAX = 1024 };

struct proto_channel {
	int fd;
	uint8_t *buffer; /* what was received and not consumed lies at start..end */
	size_t capacity, start, end;
	int stall_ms;
	struct proto_spin spin;
	size_t held; /* bytes of held_bytes: frames that are to be sent before the next one */
	uint8_t held_bytes[PROTO_HELD_MAX];
	size_t unread; /* payload bytes of the current frame that have not been received into the buffer */
	bool broken;   /* a frame was sent in part, or may have been: nothing can follow it */
};

/*
 * Takes fd on success. capacity: size of the receive buffer, at least PROTO_SMALL_MAX + PROTO_HEADER_SIZE for lanes,
 * less for handshakes. Sets the socket blocking, with its time-outs. 0, -ENOMEM, or what setsockopt says.
 */
int proto_channel_init(struct proto_channel *channel, int fd, size_t capacity, int stall_ms);
void proto_channel_done(struct proto_channel *channel);

/* Ends both directions: a thread that waits on the channel returns. Any thread may call it. */
void proto_channel_kill(struct proto_channel *channel);

/*
 * Waits until something has arrived, so that receiving does not sleep: looks for it while that is worth it (spin.h,
 * others as there), then sleeps for at most sleep_us, 0 not at all, -1 for ever. into: for proto_channel_next(), which
 * takes what was received on the way. False: nothing came.
 */
bool proto_channel_await(struct proto_channel *channel, bool into, unsigned others, int64_t sleep_us);

/*
 * Waits for the next frame. The payload is in memory up to what the buffer holds: ret_reader covers it, with
 * ret_reader->missing bytes still to come (only when a data field ends the payload); the memory is valid until the next
 * call. 0; -EAGAIN: nothing came for stall_ms (call again, or give up); -ENOTCONN: the peer closed between two frames;
 * -EBADMSG: broken framing, or a payload before it that nobody took; -ETIMEDOUT, -ECONNRESET and others: the connection
 * broke.
 */
int proto_channel_next(struct proto_channel *channel, struct proto_header *ret_header, struct proto_reader *ret_reader);

/*
 * After proto_channel_next() left missing bytes: receives the next part, at most the buffer's size, at *ret_bytes.
 * Returns how many (> 0), 0 when all has been received, or a negative errno.
 */
ssize_t proto_channel_more(struct proto_channel *channel, const void **ret_bytes);

/* Receives what comes and throws it away, frames or not. 0; -EAGAIN: nothing came for stall_ms; or the end. */
int proto_channel_discard(struct proto_channel *channel);

/*
 * Sends header, what writer holds and its tail as one frame; fills header->length. 0 or a negative errno; -EPIPE once
 * something could not be sent whole.
 */
int proto_channel_send(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer);
/*
 * The same for a frame that nobody waits for: a small one goes along with the next frame that is sent, which saves a
 * system call on both sides, or with proto_channel_flush(), which the caller must not forget.
 */
int proto_channel_hold(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer);
int proto_channel_flush(struct proto_channel *channel);

/*
 * Receives the reply to a request whose reply ends in a data field: fixed bytes of fields (the data's length counted)
 * go to memory fixed, the data of all frames, at most size bytes, to data. 0 and the header of the last frame;
 * -EBADMSG when the peer sends more, or another reply.
 */
int proto_channel_receive_data(struct proto_channel *channel, enum proto_op op, uint64_t id, void *fixed,
                               size_t fixed_size, void *data, size_t size, size_t *ret_length,
                               struct proto_header *ret_header);
