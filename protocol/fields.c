/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of field: their encoding, and every check on a value that the peer sent. */
#include "protocol/fields.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

void proto_writer_init(struct proto_writer *writer, void *memory, size_t size)
{
	*writer = (struct proto_writer){ .start = memory, .next = memory, .end = (uint8_t *) memory + size };
}

void proto_reader_init(struct proto_reader *reader, const void *memory, size_t available, size_t length)
{
	assert(available <= length);
	*reader = (struct proto_reader){
		.next = memory,
		.end = (const uint8_t *) memory + available,
		.missing = length - available,
	};
}

int proto_reader_done(const struct proto_reader *reader)
{
	if (reader->error == -EBADMSG)
		return -EBADMSG;
	/* After a refused value nothing more is read, so bytes may be left. */
	if (reader->error == 0 && (reader->next != reader->end || reader->missing != 0))
		return -EBADMSG;
	return reader->error;
}

/* -EBADMSG replaces an earlier refused value: the framing is broken. */
static void fail(int *error, int code)
{
	if (*error == 0 || code == -EBADMSG)
		*error = code;
}

/* Returns where to write size bytes, or NULL. */
static uint8_t *claim(struct proto_writer *writer, size_t size)
{
	uint8_t *bytes = writer->next;

	if (writer->error != 0)
		return NULL;
	if (writer->tail != NULL || (size_t) (writer->end - writer->next) < size) {
		fail(&writer->error, -EMSGSIZE);
		return NULL;
	}
	writer->next += size;
	return bytes;
}

/* Returns where to read size bytes, or NULL; never past the end. */
static const uint8_t *take(struct proto_reader *reader, size_t size)
{
	const uint8_t *bytes = reader->next;

	if (reader->error == -EBADMSG)
		return NULL;
	if ((size_t) (reader->end - reader->next) < size) {
		fail(&reader->error, -EBADMSG);
		return NULL;
	}
	reader->next += size;
	return bytes;
}

static void put_integer(struct proto_writer *writer, uint64_t value, size_t size)
{
	uint8_t *bytes = claim(writer, size);

	for (size_t i = 0; bytes != NULL && i < size; i++)
		bytes[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t get_integer(struct proto_reader *reader, size_t size)
{
	const uint8_t *bytes = take(reader, size);
	uint64_t value = 0;

	for (size_t i = 0; bytes != NULL && i < size; i++)
		value |= (uint64_t) bytes[i] << (8 * i);
	return value;
}

void proto_put_u32(struct proto_writer *writer, const uint32_t *value)
{
	put_integer(writer, *value, 4);
}

void proto_get_u32(struct proto_reader *reader, uint32_t *ret_value)
{
	*ret_value = (uint32_t) get_integer(reader, 4);
}

void proto_put_u64(struct proto_writer *writer, const uint64_t *value)
{
	put_integer(writer, *value, 8);
}

void proto_get_u64(struct proto_reader *reader, uint64_t *ret_value)
{
	*ret_value = get_integer(reader, 8);
}

void proto_put_offset(struct proto_writer *writer, const uint64_t *value)
{
	put_integer(writer, *value, 8);
}

void proto_get_offset(struct proto_reader *reader, uint64_t *ret_value)
{
	*ret_value = get_integer(reader, 8);
	if (*ret_value > INT64_MAX)
		fail(&reader->error, -EINVAL);
}

void proto_put_node(struct proto_writer *writer, const uint64_t *value)
{
	put_integer(writer, *value, 8);
}

void proto_get_node(struct proto_reader *reader, uint64_t *ret_value)
{
	*ret_value = get_integer(reader, 8);
}

void proto_put_handle(struct proto_writer *writer, const uint64_t *value)
{
	put_integer(writer, *value, 8);
}

void proto_get_handle(struct proto_reader *reader, uint64_t *ret_value)
{
	*ret_value = get_integer(reader, 8);
}

static void put_string(struct proto_writer *writer, const char *text, size_t length)
{
	uint8_t *bytes;

	put_integer(writer, length, 2);
	bytes = claim(writer, length);
	if (bytes != NULL)
		memcpy(bytes, text, length);
}

/*
 * Reads a string of least to most bytes without NUL into memory of most + 1. The peer may send any length: it is
 * compared before a byte is read. A string that is too long is skipped, so that the end of the frame is still found.
 */
static size_t get_string(struct proto_reader *reader, char *text, size_t least, size_t most)
{
	size_t length = get_integer(reader, 2);
	const uint8_t *bytes = take(reader, length);

	text[0] = '\0';
	if (bytes == NULL)
		return 0;
	if (length > most) {
		fail(&reader->error, -ENAMETOOLONG);
		return 0;
	}
	if (length < least || memchr(bytes, '\0', length) != NULL) {
		fail(&reader->error, -EINVAL);
		return 0;
	}
	memcpy(text, bytes, length);
	text[length] = '\0';
	return length;
}

static int name_check(const char *text, size_t length)
{
	if (length > PROTO_NAME_MAX)
		return -ENAMETOOLONG;
	if (length == 0 || memchr(text, '/', length) != NULL || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return -EINVAL;
	return 0;
}

int proto_name_set(struct proto_name *ret_name, const char *text)
{
	size_t length = strlen(text);
	int r = name_check(text, length);

	if (r < 0)
		return r;
	ret_name->length = length;
	memcpy(ret_name->text, text, length + 1);
	return 0;
}

void proto_text_set(struct proto_text *ret_text, const char *text)
{
	ret_text->length = strnlen(text, PROTO_TEXT_MAX);
	memcpy(ret_text->text, text, ret_text->length);
	ret_text->text[ret_text->length] = '\0';
}

void proto_put_name(struct proto_writer *writer, const struct proto_name *value)
{
	int r = name_check(value->text, value->length);

	if (r < 0)
		fail(&writer->error, r);
	put_string(writer, value->text, value->length);
}

void proto_get_name(struct proto_reader *reader, struct proto_name *ret_value)
{
	int r;

	ret_value->length = get_string(reader, ret_value->text, 1, PROTO_NAME_MAX);
	if (reader->error != 0)
		return;
	r = name_check(ret_value->text, ret_value->length);
	if (r < 0)
		fail(&reader->error, r);
}

void proto_put_child_name(struct proto_writer *writer, const struct proto_name *value)
{
	if (value->length == 0)
		put_integer(writer, 0, 2);
	else
		proto_put_name(writer, value);
}

void proto_get_child_name(struct proto_reader *reader, struct proto_name *ret_value)
{
	int r;

	ret_value->length = get_string(reader, ret_value->text, 0, PROTO_NAME_MAX);
	if (reader->error != 0 || ret_value->length == 0)
		return;
	r = name_check(ret_value->text, ret_value->length);
	if (r < 0)
		fail(&reader->error, r);
}

void proto_put_xattr_name(struct proto_writer *writer, const struct proto_name *value)
{
	put_string(writer, value->text, value->length);
}

void proto_get_xattr_name(struct proto_reader *reader, struct proto_name *ret_value)
{
	ret_value->length = get_string(reader, ret_value->text, 1, PROTO_NAME_MAX);
}

void proto_put_target(struct proto_writer *writer, const struct proto_target *value)
{
	put_string(writer, value->text, value->length);
}

void proto_get_target(struct proto_reader *reader, struct proto_target *ret_value)
{
	ret_value->length = get_string(reader, ret_value->text, 1, PROTO_TARGET_MAX);
}

void proto_put_text(struct proto_writer *writer, const struct proto_text *value)
{
	put_string(writer, value->text, value->length);
}

void proto_get_text(struct proto_reader *reader, struct proto_text *ret_value)
{
	ret_value->length = get_string(reader, ret_value->text, 0, PROTO_TEXT_MAX);
}

void proto_put_share(struct proto_writer *writer, const struct proto_share *value)
{
	uint8_t *bytes = claim(writer, PROTO_SHARE_SIZE);

	if (bytes != NULL)
		strncpy((char *) bytes, value->path, PROTO_SHARE_SIZE);
}

/* Absolute, single slashes, no component "." or "..", padded with NULs, at least one. */
static bool share_is_valid(const char path[PROTO_SHARE_SIZE])
{
	size_t length = strnlen(path, PROTO_SHARE_SIZE);

	if (length == PROTO_SHARE_SIZE || path[0] != '/')
		return false;
	for (size_t i = length; i < PROTO_SHARE_SIZE; i++)
		if (path[i] != '\0')
			return false;
	if (length == 1)
		return true;
	for (const char *part = path; *part != '\0';) {
		size_t size = strcspn(part + 1, "/");

		if (size == 0 || (size == 1 && part[1] == '.') || (size == 2 && part[1] == '.' && part[2] == '.'))
			return false;
		part += 1 + size;
	}
	return true;
}

void proto_get_share(struct proto_reader *reader, struct proto_share *ret_value)
{
	const uint8_t *bytes = take(reader, PROTO_SHARE_SIZE);

	memset(ret_value, 0, sizeof(*ret_value));
	if (bytes == NULL)
		return;
	if (!share_is_valid((const char *) bytes)) {
		fail(&reader->error, -EINVAL);
		return;
	}
	memcpy(ret_value->path, bytes, PROTO_SHARE_SIZE);
}

void proto_put_bytes32(struct proto_writer *writer, const struct proto_bytes32 *value)
{
	uint8_t *bytes = claim(writer, sizeof(value->bytes));

	if (bytes != NULL)
		memcpy(bytes, value->bytes, sizeof(value->bytes));
}

void proto_get_bytes32(struct proto_reader *reader, struct proto_bytes32 *ret_value)
{
	const uint8_t *bytes = take(reader, sizeof(ret_value->bytes));

	memset(ret_value, 0, sizeof(*ret_value));
	if (bytes != NULL)
		memcpy(ret_value->bytes, bytes, sizeof(ret_value->bytes));
}

void proto_put_blob(struct proto_writer *writer, const struct proto_blob *value)
{
	uint8_t *bytes;

	if (value->length > PROTO_BLOB_MAX)
		fail(&writer->error, -E2BIG);
	put_integer(writer, value->length, 4);
	bytes = claim(writer, value->length);
	if (bytes != NULL && value->length > 0)
		memcpy(bytes, value->bytes, value->length);
}

void proto_get_blob(struct proto_reader *reader, struct proto_blob *ret_value)
{
	size_t length = get_integer(reader, 4);
	const uint8_t *bytes = take(reader, length);

	*ret_value = (struct proto_blob){ 0 };
	if (bytes == NULL)
		return;
	if (length > PROTO_BLOB_MAX) {
		fail(&reader->error, -E2BIG);
		return;
	}
	*ret_value = (struct proto_blob){ .length = length, .bytes = bytes };
}

void proto_put_data(struct proto_writer *writer, const struct proto_data *value)
{
	if (value->length > PROTO_DATA_MAX || value->available != value->length)
		fail(&writer->error, -EMSGSIZE);
	put_integer(writer, value->length, 4);
	if (writer->error == 0 && value->length > 0) {
		writer->tail = value->bytes;
		writer->tail_length = value->length;
	}
}

/* Takes the rest of the message, which a data field ends: bytes missing from the frame are missing from the data. */
void proto_get_data(struct proto_reader *reader, struct proto_data *ret_value)
{
	size_t length = get_integer(reader, 4);
	size_t available = (size_t) (reader->end - reader->next);

	*ret_value = (struct proto_data){ 0 };
	if (reader->error == -EBADMSG)
		return;
	if (length != available + reader->missing || length > PROTO_DATA_MAX) {
		fail(&reader->error, -EBADMSG);
		return;
	}
	*ret_value = (struct proto_data){ .length = length, .available = available, .bytes = reader->next };
	reader->next = reader->end;
	reader->missing = 0;
}

void proto_put_time(struct proto_writer *writer, const struct proto_time *value)
{
	put_integer(writer, (uint64_t) value->seconds, 8);
	put_integer(writer, value->nanoseconds, 4);
}

void proto_get_time(struct proto_reader *reader, struct proto_time *ret_value)
{
	ret_value->seconds = (int64_t) get_integer(reader, 8);
	ret_value->nanoseconds = (uint32_t) get_integer(reader, 4);
	if (ret_value->nanoseconds >= 1000000000)
		fail(&reader->error, -EINVAL);
}

void proto_put_attr(struct proto_writer *writer, const struct proto_attr *value)
{
	put_integer(writer, value->ino, 8);
	put_integer(writer, value->size, 8);
	put_integer(writer, value->blocks, 8);
	proto_put_time(writer, &value->atime);
	proto_put_time(writer, &value->mtime);
	proto_put_time(writer, &value->ctime);
	put_integer(writer, value->mode | value->flags, 4);
	put_integer(writer, value->nlink, 4);
	put_integer(writer, value->uid, 4);
	put_integer(writer, value->gid, 4);
	put_integer(writer, value->rdev, 4);
}

void proto_get_attr(struct proto_reader *reader, struct proto_attr *ret_value)
{
	ret_value->ino = get_integer(reader, 8);
	proto_get_offset(reader, &ret_value->size); /* the peer may send any size: never negative for the kernel */
	ret_value->blocks = get_integer(reader, 8);
	proto_get_time(reader, &ret_value->atime);
	proto_get_time(reader, &ret_value->mtime);
	proto_get_time(reader, &ret_value->ctime);
	ret_value->mode = (uint32_t) get_integer(reader, 4);
	ret_value->flags = ret_value->mode & PROTO_ATTR_ALL;
	ret_value->mode &= ~(uint32_t) PROTO_ATTR_ALL;
	ret_value->nlink = (uint32_t) get_integer(reader, 4);
	ret_value->uid = (uint32_t) get_integer(reader, 4);
	ret_value->gid = (uint32_t) get_integer(reader, 4);
	ret_value->rdev = (uint32_t) get_integer(reader, 4);
}

void proto_put_entry(struct proto_writer *writer, const struct proto_entry *value)
{
	proto_put_node(writer, &value->node);
	proto_put_attr(writer, &value->attr);
}

void proto_get_entry(struct proto_reader *reader, struct proto_entry *ret_value)
{
	proto_get_node(reader, &ret_value->node);
	proto_get_attr(reader, &ret_value->attr);
	if (ret_value->node == 0)
		fail(&reader->error, -EINVAL);
}

void proto_put_mode(struct proto_writer *writer, const uint32_t *value)
{
	put_integer(writer, *value, 4);
}

void proto_get_mode(struct proto_reader *reader, uint32_t *ret_value)
{
	uint32_t type;

	*ret_value = (uint32_t) get_integer(reader, 4);
	type = *ret_value & S_IFMT;
	if ((*ret_value & ~(uint32_t) (S_IFMT | 07777)) != 0 ||
	    !(type == 0 || type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
	      type == S_IFSOCK || type == S_IFBLK || type == S_IFCHR))
		fail(&reader->error, -EINVAL);
}

void proto_put_owner(struct proto_writer *writer, const struct proto_owner *value)
{
	put_integer(writer, value->uid, 4);
	put_integer(writer, value->gid, 4);
}

void proto_get_owner(struct proto_reader *reader, struct proto_owner *ret_value)
{
	ret_value->uid = (uint32_t) get_integer(reader, 4);
	ret_value->gid = (uint32_t) get_integer(reader, 4);
	if (ret_value->uid == UINT32_MAX || ret_value->gid == UINT32_MAX)
		fail(&reader->error, -EINVAL);
}

void proto_put_setattr(struct proto_writer *writer, const struct proto_setattr *value)
{
	put_integer(writer, value->valid, 4);
	put_integer(writer, value->mode, 4);
	put_integer(writer, value->uid, 4);
	put_integer(writer, value->gid, 4);
	put_integer(writer, value->size, 8);
	proto_put_time(writer, &value->atime);
	proto_put_time(writer, &value->mtime);
}

void proto_get_setattr(struct proto_reader *reader, struct proto_setattr *ret_value)
{
	ret_value->valid = (uint32_t) get_integer(reader, 4);
	if ((ret_value->valid & PROTO_SET_MODE) != 0)
		reader->wants_permissions = true;
	proto_get_mode(reader, &ret_value->mode);
	ret_value->uid = (uint32_t) get_integer(reader, 4);
	ret_value->gid = (uint32_t) get_integer(reader, 4);
	proto_get_offset(reader, &ret_value->size);
	proto_get_time(reader, &ret_value->atime);
	proto_get_time(reader, &ret_value->mtime);
	if ((ret_value->valid & ~(uint32_t) PROTO_SET_ALL) != 0 ||
	    ((ret_value->valid & PROTO_SET_UID) != 0 && ret_value->uid == UINT32_MAX) ||
	    ((ret_value->valid & PROTO_SET_GID) != 0 && ret_value->gid == UINT32_MAX))
		fail(&reader->error, -EINVAL);
}

void proto_put_statfs(struct proto_writer *writer, const struct proto_statfs *value)
{
	put_integer(writer, value->blocks, 8);
	put_integer(writer, value->bfree, 8);
	put_integer(writer, value->bavail, 8);
	put_integer(writer, value->files, 8);
	put_integer(writer, value->ffree, 8);
	put_integer(writer, value->bsize, 4);
	put_integer(writer, value->namelen, 4);
	put_integer(writer, value->frsize, 4);
}

void proto_get_statfs(struct proto_reader *reader, struct proto_statfs *ret_value)
{
	ret_value->blocks = get_integer(reader, 8);
	ret_value->bfree = get_integer(reader, 8);
	ret_value->bavail = get_integer(reader, 8);
	ret_value->files = get_integer(reader, 8);
	ret_value->ffree = get_integer(reader, 8);
	ret_value->bsize = (uint32_t) get_integer(reader, 4);
	ret_value->namelen = (uint32_t) get_integer(reader, 4);
	ret_value->frsize = (uint32_t) get_integer(reader, 4);
}

void proto_put_forgets(struct proto_writer *writer, const struct proto_forgets *value)
{
	uint8_t *bytes;

	if (value->count > PROTO_FORGETS_MAX)
		fail(&writer->error, -E2BIG);
	put_integer(writer, value->count, 4);
	bytes = claim(writer, (size_t) value->count * 16);
	if (bytes != NULL && value->count > 0)
		memcpy(bytes, value->bytes, (size_t) value->count * 16);
}

void proto_get_forgets(struct proto_reader *reader, struct proto_forgets *ret_value)
{
	*ret_value = (struct proto_forgets){ .count = (uint32_t) get_integer(reader, 4) };
	/* The peer may send any count. */
	if (ret_value->count > PROTO_FORGETS_MAX) {
		ret_value->count = 0;
		fail(&reader->error, -EBADMSG);
		return;
	}
	ret_value->bytes = take(reader, (size_t) ret_value->count * 16);
	if (ret_value->bytes == NULL)
		ret_value->count = 0;
}

void proto_forgets_at(const struct proto_forgets *forgets, uint32_t index, uint64_t *ret_node, uint64_t *ret_count)
{
	struct proto_reader reader;

	assert(index < forgets->count);
	proto_reader_init(&reader, forgets->bytes + (size_t) index * 16, 16, 16);
	*ret_node = get_integer(&reader, 8);
	*ret_count = get_integer(&reader, 8);
}

void proto_put_dirent(struct proto_writer *writer, const struct proto_dirent *dirent)
{
	proto_put_u64(writer, &dirent->cookie);
	proto_put_node(writer, &dirent->node);
	proto_put_attr(writer, &dirent->attr);
	put_string(writer, dirent->name.text, dirent->name.length);
}

void proto_get_dirent(struct proto_reader *reader, struct proto_dirent *ret_dirent)
{
	proto_get_u64(reader, &ret_dirent->cookie);
	proto_get_node(reader, &ret_dirent->node);
	proto_get_attr(reader, &ret_dirent->attr);
	ret_dirent->name.length = get_string(reader, ret_dirent->name.text, 1, PROTO_NAME_MAX);
	if (strchr(ret_dirent->name.text, '/') != NULL)
		fail(&reader->error, -EINVAL);
}
