/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request of the kernel's asks of the server: one message, and the reply to it. Each function is called by the
 * thread that serves the request. Errors: the server's; or -EIO or the session's error when the connection broke.
 */
#pragma once

#include <stddef.h>

#include "protocol/fields.h"
#include "protocol/messages.h"

struct request;

/* A reply of fields. writer: those of the message. 0 and the reply's payload, valid until the next call. */
int exchange_fields(struct request *request, enum proto_op op, const struct proto_writer *writer,
                    struct proto_reader *ret_reader);
/*
 * A reply that ends in data: fixed as proto_channel_receive_data() has it; the data, at most size bytes, lies at
 * request_data().
 */
int exchange_data(struct request *request, enum proto_op op, const struct proto_writer *writer, void *fixed,
                  size_t fixed_size, size_t size, size_t *ret_length);
/* A message that has no reply: it goes with the next one, or with connection_flush(). */
int exchange_send(struct request *request, enum proto_op op, const struct proto_writer *writer);

/* What the server answered makes no sense: the connection is of no use any more. Returns -EIO. */
int exchange_broken(struct request *request, enum proto_op op, const char *what);
