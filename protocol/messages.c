/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs and rows, generated from the table of operations. */
#include "protocol/messages.h"

#include <errno.h>

/* The row's errors: as numbers, terminated by 0, and as text. */
static const struct {
	const int *numbers;
	const char *names;
} errors[PROTO_OP_LIMIT] = {
#define ERRORS(SYMBOL, ...) [PROTO_##SYMBOL] = { (const int[]){ __VA_ARGS__, 0 }, #__VA_ARGS__ },
#include "protocol/ops.def"
};

static const int errors_any[] = { PROTO_ERRORS_ANY, 0 };

const struct proto_op_info proto_ops[PROTO_OP_LIMIT] = {
#define OP(SYMBOL, op, number, lane_, from_, changes_, replay_, doc_)                                                  \
	[number] = {                                                                                                   \
		.name = #op,                                                                                           \
		.doc = doc_,                                                                                           \
		.lane = PROTO_LANE_##lane_,                                                                            \
		.from = PROTO_FROM_##from_,                                                                            \
		.changes = PROTO_CHANGES_##changes_,                                                                   \
		.replay = PROTO_REPLAY_##replay_,                                                                      \
	},
#include "protocol/ops.def"
};

const struct proto_op_info *proto_op_info(unsigned number)
{
	if (number >= PROTO_OP_LIMIT || proto_ops[number].name == NULL)
		return NULL;
	return &proto_ops[number];
}

const struct proto_op_info *proto_op_expected(unsigned number, enum proto_lane lane, enum proto_from from)
{
	const struct proto_op_info *info = proto_op_info(number);

	return info != NULL && (info->lane & lane) != 0 && (info->from & from) != 0 ? info : NULL;
}

const char *proto_op_errors(unsigned number)
{
	return proto_op_info(number) == NULL || errors[number].names == NULL ? "" : errors[number].names;
}

static bool is_in(const int *numbers, int error)
{
	for (; numbers != NULL && *numbers != 0; numbers++)
		if (*numbers == error)
			return true;
	return false;
}

bool proto_op_may_fail(unsigned number, int error)
{
	return proto_op_info(number) != NULL && (is_in(errors[number].numbers, error) || is_in(errors_any, error));
}

/* encode */
#define REQUEST(op)                                                                                                    \
	int proto_encode_##op##_request(struct proto_writer *writer, const struct proto_##op##_request *message)       \
	{
#define FIELD(kind, name, doc) proto_put_##kind(writer, &message->name);
#define REPLY(op)                                                                                                      \
	return writer->error;                                                                                          \
	}                                                                                                              \
	int proto_encode_##op##_reply(struct proto_writer *writer, const struct proto_##op##_reply *message)           \
	{
#define END(op)                                                                                                        \
	return writer->error;                                                                                          \
	}
#include "protocol/ops.def"

/* decode */
#define REQUEST(op)                                                                                                    \
	int proto_decode_##op##_request(struct proto_reader *reader, struct proto_##op##_request *ret_message)         \
	{
#define FIELD(kind, name, doc) proto_get_##kind(reader, &ret_message->name);
#define REPLY(op)                                                                                                      \
	return proto_reader_done(reader);                                                                              \
	}                                                                                                              \
	int proto_decode_##op##_reply(struct proto_reader *reader, struct proto_##op##_reply *ret_message)             \
	{
#define END(op)                                                                                                        \
	return proto_reader_done(reader);                                                                              \
	}
#include "protocol/ops.def"
