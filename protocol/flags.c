/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of field that are flags: whitelists of what a peer may ask for. */
#include "protocol/fields.h"

#include <errno.h>

/* Reads flags; refuses those that allowed() does not accept. */
static void get_flags(struct proto_reader *reader, uint32_t *ret_value, bool (*allowed)(uint32_t))
{
	proto_get_u32(reader, ret_value);
	if (!allowed(*ret_value) && reader->error == 0)
		reader->error = -EINVAL;
}

static bool open_flags_allowed(uint32_t flags)
{
	return (flags & ~(uint32_t) PROTO_OPEN_ALL) == 0 && (flags & (PROTO_OPEN_READ | PROTO_OPEN_WRITE)) != 0;
}

static bool rename_flags_allowed(uint32_t flags)
{
	return flags == PROTO_RENAME_EXCHANGE ||
	       (flags & ~(uint32_t) (PROTO_RENAME_NOREPLACE | PROTO_RENAME_WHITEOUT)) == 0;
}

static bool write_flags_allowed(uint32_t flags)
{
	return (flags & ~(uint32_t) PROTO_WRITE_ALL) == 0;
}

static bool xattr_flags_allowed(uint32_t flags)
{
	return flags == 0 || flags == PROTO_XATTR_CREATE || flags == PROTO_XATTR_REPLACE;
}

static bool fallocate_mode_allowed(uint32_t mode)
{
	return mode == 0 || mode == PROTO_FALLOCATE_KEEP_SIZE ||
	       mode == (PROTO_FALLOCATE_PUNCH_HOLE | PROTO_FALLOCATE_KEEP_SIZE) ||
	       (mode & ~(uint32_t) PROTO_FALLOCATE_KEEP_SIZE) == PROTO_FALLOCATE_ZERO_RANGE;
}

void proto_put_open_flags(struct proto_writer *writer, const uint32_t *value)
{
	proto_put_u32(writer, value);
}

void proto_get_open_flags(struct proto_reader *reader, uint32_t *ret_value)
{
	get_flags(reader, ret_value, open_flags_allowed);
	/* TRUNCATE changes the file even when it is opened for reading. */
	if ((*ret_value & (PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE)) != 0)
		reader->wants_change = true;
}

void proto_put_rename_flags(struct proto_writer *writer, const uint32_t *value)
{
	proto_put_u32(writer, value);
}

void proto_get_rename_flags(struct proto_reader *reader, uint32_t *ret_value)
{
	get_flags(reader, ret_value, rename_flags_allowed);
}

void proto_put_write_flags(struct proto_writer *writer, const uint32_t *value)
{
	proto_put_u32(writer, value);
}

void proto_get_write_flags(struct proto_reader *reader, uint32_t *ret_value)
{
	get_flags(reader, ret_value, write_flags_allowed);
}

void proto_put_xattr_flags(struct proto_writer *writer, const uint32_t *value)
{
	proto_put_u32(writer, value);
}

void proto_get_xattr_flags(struct proto_reader *reader, uint32_t *ret_value)
{
	get_flags(reader, ret_value, xattr_flags_allowed);
}

void proto_put_fallocate_mode(struct proto_writer *writer, const uint32_t *value)
{
	proto_put_u32(writer, value);
}

void proto_get_fallocate_mode(struct proto_reader *reader, uint32_t *ret_value)
{
	get_flags(reader, ret_value, fallocate_mode_allowed);
}
