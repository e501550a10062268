/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message to the server on behalf of a kernel's request, and the reply to it. The thread that serves the request
 * calls these functions. Errors: the server's; or -EIO or the session's error when the connection broke.
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
/* A message without a reply: it is kept, and goes with the next one or with connection_flush(). */
int exchange_send(struct request *request, enum proto_op op, const struct proto_writer *writer);

/* The server's answer makes no sense (what says why): gives the connection up. Returns -EIO. */
int exchange_broken(struct request *request, enum proto_op op, const char *what);
