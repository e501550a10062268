/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs and rows, made from the table of operations. */
#include "protocol/messages.h"

const struct proto_op_info proto_ops[PROTO_OP_LIMIT] = {
#define OP(SYMBOL, op, number, lane_, changes_, replay_, doc_)                                                         \
	[number] = {                                                                                                   \
		.name = #op,                                                                                           \
		.doc = doc_,                                                                                           \
		.lane = PROTO_LANE_##lane_,                                                                            \
		.changes = PROTO_CHANGES_##changes_,                                                                   \
		.replay = PROTO_REPLAY_##replay_,                                                                      \
	},
#define REQUEST(op)
#define FIELD(kind, name, doc)
#define REPLY(op)
#define END(op)
#include "protocol/ops.def"
};

const struct proto_op_info *proto_op_info(unsigned number)
{
	if (number >= PROTO_OP_LIMIT || proto_ops[number].name == NULL)
		return NULL;
	return &proto_ops[number];
}

/* encode */
#define OP(SYMBOL, op, number, lane, changes, replay, doc)
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
#define OP(SYMBOL, op, number, lane, changes, replay, doc)
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
