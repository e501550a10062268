/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of field that messages consist of: their C types, their encoding, and every check on a value that the peer
 * sent. All numbers are little-endian.
 *
 * A put function appends to a writer, a get function takes from a reader. Both record the first error and do nothing
 * after it, so callers check the error once, at the end. -EBADMSG means that the peer broke the framing (cut short, a
 * reserved bit): the session ends. Any other error (-EINVAL, -ENAMETOOLONG) is a refused value in a well-formed
 * message: the request is answered with it, and the session goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Appends to memory that the caller owns. */
struct proto_writer {
	uint8_t *start, *next, *end;
	const void *tail; /* the data field: sent after the bytes written here, never copied */
	size_t tail_length;
	int error; /* 0 or the first error */
};

/* Reads from memory that the caller owns; pointers returned by get functions point into it. */
struct proto_reader {
	const uint8_t *next, *end;
	size_t missing;         /* bytes of the data field that have not been received yet */
	bool wants_change;      /* an open_flags field asked for more than reading */
	bool wants_permissions; /* a setattr field asked for a change of mode */
	int error;
};

/* Sizes, in bytes. */
enum {
	PROTO_NAME_MAX = 255,         /* a name in a directory, and an xattr's (limits.h) */
	PROTO_TARGET_MAX = 4095,      /* a symlink's target: PATH_MAX without its NUL */
	PROTO_TEXT_MAX = 1023,        /* a message for people */
	PROTO_SHARE_SIZE = 4096,      /* a share's path, NUL-padded */
	PROTO_BLOB_MAX = 65536,       /* an xattr's value or list (XATTR_SIZE_MAX) */
	PROTO_CHUNK = 256 * 1024,     /* data in one frame of a reply that takes several */
	PROTO_DATA_MAX = 1024 * 1024, /* data of one request or one whole reply */
	PROTO_FORGETS_MAX = 2048,     /* entries of one FORGET */
};

/* Id of a node or handle: slot in the low 32 bits, generation (never 0) in the high ones. 0 means none. */
#define PROTO_ID(generation, slot) (((uint64_t) (generation) << 32) | (uint32_t) (slot))
#define PROTO_ID_SLOT(id)          ((uint32_t) (id))
#define PROTO_ID_GENERATION(id)    ((uint32_t) ((id) >> 32))

struct proto_name {
	size_t length;
	char text[PROTO_NAME_MAX + 1]; /* ends in a NUL, which length does not count */
};

struct proto_target {
	size_t length;
	char text[PROTO_TARGET_MAX + 1];
};

struct proto_text {
	size_t length;
	char text[PROTO_TEXT_MAX + 1];
};

struct proto_share {
	char path[PROTO_SHARE_SIZE]; /* absolute, ends in a NUL */
};

struct proto_bytes32 {
	uint8_t bytes[32];
};

struct proto_blob {
	size_t length;
	const void *bytes; /* in the reader's memory */
};

struct proto_data {
	size_t length;    /* of the whole field */
	size_t available; /* that many of them are at bytes; the rest is still to be received */
	const void *bytes;
};

struct proto_time {
	int64_t seconds; /* since 1970-01-01 UTC */
	uint32_t nanoseconds;
};

/* The attributes of stat(2). 80 bytes on the wire. */
struct proto_attr {
	uint64_t ino, size, blocks; /* blocks of 512 bytes */
	struct proto_time atime, mtime, ctime;
	uint32_t mode, nlink, uid, gid;
	uint32_t rdev;  /* as Linux encodes it in 32 bits (include/linux/kdev_t.h, new_encode_dev) */
	uint32_t flags; /* PROTO_ATTR_*: on the wire they are the high bits of mode */
};

struct proto_entry {
	uint64_t node;
	struct proto_attr attr;
};

struct proto_owner {
	uint32_t uid, gid;
};

struct proto_setattr {
	uint32_t valid; /* PROTO_SET_* */
	uint32_t mode, uid, gid;
	uint64_t size;
	struct proto_time atime, mtime;
};

struct proto_statfs {
	uint64_t blocks, bfree, bavail, files, ffree;
	uint32_t bsize, namelen, frsize;
};

struct proto_forgets {
	uint32_t count;
	const uint8_t *bytes; /* count pairs of node and number of references; read with proto_forgets_at() */
};

/* Bits of the kinds that are flags; any other bit is refused. */
enum {
	PROTO_OPEN_READ = 1 << 0,
	PROTO_OPEN_WRITE = 1 << 1,
	PROTO_OPEN_TRUNCATE = 1 << 2,
	PROTO_OPEN_EXCLUSIVE = 1 << 3,
	PROTO_OPEN_SYNC = 1 << 4,
	PROTO_OPEN_DSYNC = 1 << 5,
	PROTO_OPEN_NOATIME = 1 << 6,
	PROTO_OPEN_ALL = (1 << 7) - 1,

	PROTO_ATTR_BARE = 1 << 30,    /* the object has no extended attributes that the client could list */
	PROTO_ATTR_LEASED = 1 << 29,  /* INVALIDATE will say when these attributes do not hold any more */
	PROTO_ATTR_WRITERS = 1 << 28, /* others may write to the file: its contents may change without INVALIDATE */
	PROTO_ATTR_KEEP = 1 << 27,    /* the handle of OPEN may serve later opens for reading, until INVALIDATE */
	PROTO_ATTR_ALL = PROTO_ATTR_BARE | PROTO_ATTR_LEASED | PROTO_ATTR_WRITERS | PROTO_ATTR_KEEP,

	PROTO_RENAME_NOREPLACE = 1 << 0,
	PROTO_RENAME_EXCHANGE = 1 << 1,
	PROTO_RENAME_WHITEOUT = 1 << 2, /* leaves a character device 0:0 at the old name */

	PROTO_WRITE_APPEND = 1 << 0,          /* O_APPEND: at the end of the file at the time of the write */
	PROTO_WRITE_KILL_PRIVILEGES = 1 << 1, /* clear recorded setuid and setgid bits */
	PROTO_WRITE_SYNC = 1 << 2,            /* O_SYNC: replied to when contents and attributes are on disk */
	PROTO_WRITE_DSYNC = 1 << 3,           /* O_DSYNC: replied to when the contents are on disk */
	PROTO_WRITE_ALL = (1 << 4) - 1,

	PROTO_XATTR_CREATE = 1 << 0,
	PROTO_XATTR_REPLACE = 1 << 1,

	PROTO_FALLOCATE_KEEP_SIZE = 1 << 0, /* the values of linux/falloc.h */
	PROTO_FALLOCATE_PUNCH_HOLE = 1 << 1,
	PROTO_FALLOCATE_ZERO_RANGE = 1 << 4,

	PROTO_SET_MODE = 1 << 0,
	PROTO_SET_UID = 1 << 1,
	PROTO_SET_GID = 1 << 2,
	PROTO_SET_SIZE = 1 << 3,
	PROTO_SET_ATIME = 1 << 4,
	PROTO_SET_MTIME = 1 << 5,
	PROTO_SET_ATIME_NOW = 1 << 6,
	PROTO_SET_MTIME_NOW = 1 << 7,
	PROTO_SET_KILL_PRIVILEGES = 1 << 8,
	PROTO_SET_ALL = (1 << 9) - 1,

	/* What does not hold any more (INVALIDATE). */
	PROTO_INVALIDATE_NAME = 1 << 0,       /* the name leads elsewhere, or there was none, or there is none now */
	PROTO_INVALIDATE_ATTRIBUTES = 1 << 1, /* of the object at the name; without a name, of the directory */
	PROTO_INVALIDATE_CONTENTS = 1 << 2,   /* of the object at the name; with the next two, of all objects there */
	PROTO_INVALIDATE_DIRECTORY = 1 << 3,  /* every name in the directory, with attributes */
	PROTO_INVALIDATE_ALL = 1 << 4,        /* every name and attribute under a lease */
	PROTO_INVALIDATE_MASK = (1 << 5) - 1,

	/* What a name that is not among the entries is (SCAN). */
	PROTO_WHOLE_NO = 0,    /* not known: not all entries are here */
	PROTO_WHOLE_QUIET = 1, /* missing */
	PROTO_WHOLE_CHANGED =
	        2, /* missing when it was read; names were being changed, so others may have made it since */
};

/*
 * KIND(kind, C type, most bytes on the wire, "bytes on the wire and what is refused"): one line for each kind. For
 * data, the bytes that it points at are not counted. The functions proto_put_<kind> and proto_get_<kind> are in
 * fields.c.
 */
/* clang-format off */
#define PROTO_KINDS(KIND) \
	KIND(u32, uint32_t, 4, "4 bytes") \
	KIND(u64, uint64_t, 8, "8 bytes") \
	KIND(offset, uint64_t, 8, "8 bytes, at most 2^63-1") \
	KIND(node, uint64_t, 8, "8 bytes: slot in the low 32 bits, generation in the high ones; 0 is none") \
	KIND(handle, uint64_t, 8, "8 bytes: slot in the low 32 bits, generation in the high ones; 0 is none") \
	KIND(name, struct proto_name, 2 + PROTO_NAME_MAX, "2 bytes length, then bytes: 1 to 255, no NUL, no `/`, neither `.` nor `..`") \
	KIND(child_name, struct proto_name, 2 + PROTO_NAME_MAX, "as name, or 2 bytes 0: none") \
	KIND(xattr_name, struct proto_name, 2 + PROTO_NAME_MAX, "2 bytes length, then bytes: 1 to 255, no NUL") \
	KIND(target, struct proto_target, 2 + PROTO_TARGET_MAX, "2 bytes length, then bytes: 1 to 4095, no NUL") \
	KIND(text, struct proto_text, 2 + PROTO_TEXT_MAX, "2 bytes length, then bytes: 0 to 1023, no NUL") \
	KIND(share, struct proto_share, PROTO_SHARE_SIZE, "4096 bytes: an absolute path, padded with at least one NUL, no component `.` or `..`, no double slash") \
	KIND(bytes32, struct proto_bytes32, 32, "32 bytes") \
	KIND(blob, struct proto_blob, 4 + PROTO_BLOB_MAX, "4 bytes length, then bytes: 0 to 65536") \
	KIND(data, struct proto_data, 4, "4 bytes length, then bytes to the end of the frame: 0 to 1 MiB") \
	KIND(time, struct proto_time, 12, "8 bytes seconds (signed) and 4 bytes nanoseconds below 1,000,000,000") \
	KIND(attr, struct proto_attr, 80, "80 bytes: ino, size, blocks of 512 bytes (8 each), atime, mtime, ctime (time each), mode, nlink, uid, gid, rdev (4 each); with the feature ATTR_FLAGS mode may have PROTO_ATTR_BARE 2^30, with LEASES PROTO_ATTR_LEASED 2^29, PROTO_ATTR_WRITERS 2^28 and PROTO_ATTR_KEEP 2^27") \
	KIND(entry, struct proto_entry, 88, "node (not 0) and attr") \
	KIND(mode, uint32_t, 4, "4 bytes: a file type of stat(2) or none, and the bits of 07777") \
	KIND(owner, struct proto_owner, 8, "4 bytes uid, 4 bytes gid; neither is 2^32-1") \
	KIND(setattr, struct proto_setattr, 48, "4 bytes PROTO_SET_* mask, mode, uid, gid (4 each), size (offset), atime, mtime (time each)") \
	KIND(statfs, struct proto_statfs, 52, "blocks, bfree, bavail, files, ffree (8 each), bsize, namelen, frsize (4 each)") \
	KIND(forgets, struct proto_forgets, 4 + 16 * PROTO_FORGETS_MAX, "4 bytes count, at most 2048, then for each: node and number of references (8 bytes each)") \
	KIND(open_flags, uint32_t, 4, "4 bytes PROTO_OPEN_*: READ 1 WRITE 2 TRUNCATE 4 EXCLUSIVE 8 SYNC 16 DSYNC 32 NOATIME 64, at least one of READ and WRITE; with WRITE or TRUNCATE the request counts as a change") \
	KIND(rename_flags, uint32_t, 4, "4 bytes PROTO_RENAME_*: EXCHANGE 2 alone, or any of NOREPLACE 1, WHITEOUT 4") \
	KIND(write_flags, uint32_t, 4, "4 bytes PROTO_WRITE_*: APPEND 1 KILL_PRIVILEGES 2 SYNC 4 DSYNC 8") \
	KIND(xattr_flags, uint32_t, 4, "4 bytes PROTO_XATTR_*: 0, CREATE 1 or REPLACE 2, not both") \
	KIND(fallocate_mode, uint32_t, 4, "4 bytes: 0, KEEP_SIZE 1, PUNCH_HOLE|KEEP_SIZE 3, ZERO_RANGE 16, ZERO_RANGE|KEEP_SIZE 17")
/* clang-format on */

#define KIND(kind, type, most, doc)                                                                                    \
	typedef type proto_type_##kind;                                                                                \
	void proto_put_##kind(struct proto_writer *writer, const type *value);                                         \
	void proto_get_##kind(struct proto_reader *reader, type *ret_value);
PROTO_KINDS(KIND)
#undef KIND

/* PROTO_MOST_u32 and so on: the most bytes of a field on the wire. */
enum {
#define KIND(kind, type, most, doc) PROTO_MOST_##kind = (most),
	PROTO_KINDS(KIND)
#undef KIND
};

/* A writer to size bytes at memory. */
void proto_writer_init(struct proto_writer *writer, void *memory, size_t size);
/* A reader of the first available bytes, at memory, of a payload of length bytes (available <= length). */
void proto_reader_init(struct proto_reader *reader, const void *memory, size_t available, size_t length);
/* Returns 0 when the whole payload was read without error, else the error. */
int proto_reader_done(const struct proto_reader *reader);

/* The pair at index, which must be below count. */
void proto_forgets_at(const struct proto_forgets *forgets, uint32_t index, uint64_t *ret_node, uint64_t *ret_count);

/* Sets a name from text. Returns 0, -EINVAL or -ENAMETOOLONG, by the same checks as decoding. */
int proto_name_set(struct proto_name *ret_name, const char *text);
/* Sets a text; what is too long is cut. */
void proto_text_set(struct proto_text *ret_text, const char *text);

/*
 * A dirent in the data field of OPENDIR, READDIR and SCAN: cookie u64, node u64 (0: no reference was taken, and only
 * ino and the type in mode are valid), attr, then 2 bytes length and the name, which may be "." or "..", unlike a field
 * of kind name.
 */
struct proto_dirent {
	uint64_t cookie, node;
	struct proto_attr attr;
	struct proto_name name;
};
enum { PROTO_DIRENT_MAX = 8 + 8 + 80 + 2 + PROTO_NAME_MAX };
void proto_put_dirent(struct proto_writer *writer, const struct proto_dirent *dirent);
void proto_get_dirent(struct proto_reader *reader, struct proto_dirent *ret_dirent);
