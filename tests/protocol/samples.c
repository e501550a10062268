/* SPDX-License-Identifier: Apache-2.0 */
/* Values for every kind of field. */
#include "tests/protocol/samples.h"

#include <string.h>
#include <sys/stat.h>

/* splitmix64 */
static uint64_t next(struct samples *samples)
{
	uint64_t z = (samples->state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static size_t text(struct samples *samples, char *memory, size_t least, size_t most)
{
	size_t length = least + next(samples) % (most < 40 ? most - least + 1 : 40 - least);

	for (size_t i = 0; i < length; i++)
		memory[i] = (char) ('a' + next(samples) % 26);
	memory[length] = '\0';
	return length;
}

void sample_u32(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = (uint32_t) next(samples);
}

void sample_u64(struct samples *samples, uint64_t *ret_value)
{
	*ret_value = next(samples);
}

void sample_offset(struct samples *samples, uint64_t *ret_value)
{
	*ret_value = next(samples) >> 1;
}

void sample_node(struct samples *samples, uint64_t *ret_value)
{
	*ret_value = next(samples) | 1;
}

void sample_handle(struct samples *samples, uint64_t *ret_value)
{
	*ret_value = next(samples);
}

void sample_name(struct samples *samples, struct proto_name *ret_value)
{
	ret_value->length = text(samples, ret_value->text, 3, PROTO_NAME_MAX);
}

void sample_child_name(struct samples *samples, struct proto_name *ret_value)
{
	ret_value->length = text(samples, ret_value->text, 0, PROTO_NAME_MAX);
}

void sample_xattr_name(struct samples *samples, struct proto_name *ret_value)
{
	sample_name(samples, ret_value);
}

void sample_target(struct samples *samples, struct proto_target *ret_value)
{
	ret_value->length = text(samples, ret_value->text, 1, PROTO_TARGET_MAX);
}

void sample_text(struct samples *samples, struct proto_text *ret_value)
{
	ret_value->length = text(samples, ret_value->text, 0, PROTO_TEXT_MAX);
}

void sample_share(struct samples *samples, struct proto_share *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->path[0] = '/';
	(void) text(samples, ret_value->path + 1, 3, 30);
}

void sample_bytes32(struct samples *samples, struct proto_bytes32 *ret_value)
{
	for (size_t i = 0; i < sizeof(ret_value->bytes); i++)
		ret_value->bytes[i] = (uint8_t) next(samples);
}

void sample_blob(struct samples *samples, struct proto_blob *ret_value)
{
	ret_value->length = next(samples) % 64;
	for (size_t i = 0; i < ret_value->length; i++)
		samples->memory[i] = (uint8_t) next(samples);
	ret_value->bytes = samples->memory;
}

void sample_data(struct samples *samples, struct proto_data *ret_value)
{
	struct proto_blob blob;

	sample_blob(samples, &blob);
	*ret_value = (struct proto_data){ .length = blob.length, .available = blob.length, .bytes = blob.bytes };
}

void sample_time(struct samples *samples, struct proto_time *ret_value)
{
	ret_value->seconds = (int64_t) next(samples) >> 20;
	ret_value->nanoseconds = (uint32_t) (next(samples) % 1000000000);
}

void sample_attr(struct samples *samples, struct proto_attr *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->ino = next(samples);
	sample_offset(samples, &ret_value->size);
	ret_value->blocks = next(samples);
	sample_time(samples, &ret_value->atime);
	sample_time(samples, &ret_value->mtime);
	sample_time(samples, &ret_value->ctime);
	ret_value->mode = (uint32_t) next(samples);
	ret_value->flags = ret_value->mode & PROTO_ATTR_ALL;
	ret_value->mode &= ~(uint32_t) PROTO_ATTR_ALL;
	ret_value->nlink = (uint32_t) next(samples);
	ret_value->uid = (uint32_t) next(samples);
	ret_value->gid = (uint32_t) next(samples);
	ret_value->rdev = (uint32_t) next(samples);
}

void sample_entry(struct samples *samples, struct proto_entry *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	sample_node(samples, &ret_value->node);
	sample_attr(samples, &ret_value->attr);
}

void sample_mode(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = S_IFREG | (next(samples) & 07777);
}

void sample_owner(struct samples *samples, struct proto_owner *ret_value)
{
	ret_value->uid = (uint32_t) (next(samples) >> 33);
	ret_value->gid = (uint32_t) (next(samples) >> 33);
}

void sample_setattr(struct samples *samples, struct proto_setattr *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->valid = (uint32_t) (next(samples) & PROTO_SET_ALL);
	sample_mode(samples, &ret_value->mode);
	ret_value->uid = (uint32_t) (next(samples) >> 33);
	ret_value->gid = (uint32_t) (next(samples) >> 33);
	sample_offset(samples, &ret_value->size);
	sample_time(samples, &ret_value->atime);
	sample_time(samples, &ret_value->mtime);
}

void sample_statfs(struct samples *samples, struct proto_statfs *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->blocks = next(samples);
	ret_value->bfree = next(samples);
	ret_value->bavail = next(samples);
	ret_value->files = next(samples);
	ret_value->ffree = next(samples);
	ret_value->bsize = (uint32_t) next(samples);
	ret_value->namelen = (uint32_t) next(samples);
	ret_value->frsize = (uint32_t) next(samples);
}

void sample_forgets(struct samples *samples, struct proto_forgets *ret_value)
{
	ret_value->count = (uint32_t) (1 + next(samples) % 5);
	for (size_t i = 0; i < (size_t) ret_value->count * 16; i++)
		samples->memory[i] = (uint8_t) next(samples);
	ret_value->bytes = samples->memory;
}

void sample_open_flags(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = (uint32_t) (PROTO_OPEN_READ | (next(samples) & PROTO_OPEN_ALL));
}

void sample_rename_flags(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = (uint32_t) (next(samples) % 3);
}

void sample_write_flags(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = (uint32_t) (next(samples) & PROTO_WRITE_ALL);
}

void sample_xattr_flags(struct samples *samples, uint32_t *ret_value)
{
	*ret_value = (uint32_t) (next(samples) % 3);
}

void sample_fallocate_mode(struct samples *samples, uint32_t *ret_value)
{
	static const uint32_t allowed[] = { 0, 1, 3, 16, 17 };

	*ret_value = allowed[next(samples) % 5];
}
