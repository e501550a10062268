/* SPDX-License-Identifier: Apache-2.0 */
/* Generated from the table of operations: numbers, names, structs and codecs. */
#pragma once

#include "fields.h"

enum {
	PROTO_MAGIC = 0x52485342, /* "BSHR" */
	PROTO_VERSION_MIN = 1,
	PROTO_VERSION_MAX = 1,

	/* flags of HELLO */
	PROTO_HELLO_READ_ONLY = 1 << 0,
	PROTO_HELLO_OWNER_HOST = 1 << 1,       /* owner=host */
	PROTO_HELLO_PERMISSIONS_HOST = 1 << 2, /* permissions=host */
	PROTO_HELLO_SYNC = 1 << 3,             /* the mount's option sync: contents and attributes */
	PROTO_HELLO_DIRSYNC = 1 << 4,          /* the mount's option dirsync, which is part of sync: names */
	PROTO_HELLO_ALL = (1 << 5) - 1,

	/* features of HELLO */
	PROTO_FEATURE_ATTR_FLAGS = 1 << 0, /* the high bits of an attr's mode may carry PROTO_ATTR_* */
	PROTO_FEATURE_LEASES = 1 << 1,     /* INVALIDATE, PROTO_FRAME_LEASED, PROTO_ATTR_LEASED and what follows it */
	PROTO_FEATURE_ALL = (1 << 2) - 1,

	/*
	 * How long a client may keep what it is told without a lease, in ms: names and attributes; attributes in the
	 * reply to its own change of an object, and contents that came with OPEN.
	 */
	PROTO_KEEP_MS = 1000,
	PROTO_KEEP_BRIEFLY_MS = 100,

	/* flags of WELCOME */
	PROTO_WELCOME_READ_ONLY = 1 << 0,
	/* The host's file system may report a write error only when the file is closed (NFS, FUSE ...). */
	PROTO_WELCOME_SYNC_AT_CLOSE = 1 << 1,
};

/* Why the server refuses; bindshare-mount has an exit code and words for each. */
enum proto_refuse {
	PROTO_REFUSE_VERSION = 1,       /* no version in common */
	PROTO_REFUSE_PROOF = 2,         /* wrong token, or an untrusted peer */
	PROTO_REFUSE_NOT_SHARED = 3,    /* not beneath the allowlist */
	PROTO_REFUSE_NOT_FOUND = 4,     /* on the allowlist, but does not exist */
	PROTO_REFUSE_NOT_DIRECTORY = 5, /* on the allowlist, but not a directory */
	PROTO_REFUSE_LIMIT = 6,         /* too many shares, lanes or pending handshakes */
	PROTO_REFUSE_SESSION = 7,       /* ATTACH to a session that does not exist */
	PROTO_REFUSE_PROTOCOL = 8,      /* the client broke the protocol */
	PROTO_REFUSE_INTERNAL = 9,      /* an error of the server, see its log */
};

enum proto_goodbye {
	PROTO_GOODBYE_DONE = 0,     /* unmounted, or the server stops */
	PROTO_GOODBYE_PROTOCOL = 1, /* the other side broke the protocol */
	PROTO_GOODBYE_REVOKED = 2,  /* the share was removed or changed */
	PROTO_GOODBYE_SILENT = 3,   /* no heartbeat */
	PROTO_GOODBYE_LIMIT = 4,    /* a limit was exceeded */
	PROTO_GOODBYE_MOVED = 5,    /* the mounted directory was replaced, unmounted or moved away on the host */
};

/* In SHARE: the state of a directory, and how to mount it. */
enum proto_share_state { PROTO_SHARE_SERVED = 1, PROTO_SHARE_MISSING = 2, PROTO_SHARE_REPLACED = 3 };
enum {
	PROTO_SHARE_READ_ONLY = 1 << 0,
	PROTO_SHARE_OWNER_HOST = 1 << 1,
	PROTO_SHARE_PERMISSIONS_HOST = 1 << 2,
	PROTO_SHARE_CACHE_NONE = 1 << 3,
};

/* In BIND_REFUSED: why a container did not get a path. */
enum proto_bind {
	PROTO_BIND_NOT_SHARED = 1,
	PROTO_BIND_LEADS_OUT = 2,
	PROTO_BIND_MISSING = 3,
	PROTO_BIND_SOCKET = 4,
	PROTO_BIND_SPECIAL = 5,
};

enum proto_lane {
	PROTO_LANE_HANDSHAKE = 1 << 0,
	PROTO_LANE_EVENT = 1 << 1,
	PROTO_LANE_LIST = 1 << 2,
	PROTO_LANE_EVENT_LIST = PROTO_LANE_EVENT | PROTO_LANE_LIST,
	PROTO_LANE_DATA = 1 << 3,
};
enum proto_from { PROTO_FROM_GUEST = 1 << 0, PROTO_FROM_SERVER = 1 << 1, PROTO_FROM_BOTH = (1 << 2) - 1 };
enum proto_changes { PROTO_CHANGES_NO = 1, PROTO_CHANGES_YES, PROTO_CHANGES_BY_FLAGS };
enum proto_replay { PROTO_REPLAY_SAFE = 1, PROTO_REPLAY_ONCE, PROTO_REPLAY_NEVER, PROTO_REPLAY_NOREPLY };

/* PROTO_LOOKUP and so on: the operations' numbers on the wire. */
enum proto_op {
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) PROTO_##SYMBOL = (number),
#include "ops.def"
	PROTO_OP_LIMIT = 256, /* all numbers are below this */
};

/* The same by the lower-case name, for tables made from the rows: PROTO_NUMBER_lookup. */
enum {
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) PROTO_NUMBER_##op = (number),
#include "ops.def"
};

struct proto_op_info {
	const char *name; /* lower case; NULL: no such operation */
	const char *doc;
	enum proto_lane lane;
	enum proto_from from;
	enum proto_changes changes;
	enum proto_replay replay;
};

/* Errors that every reply may carry: a refused value, no memory, and what the host's storage may fail with. */
#define PROTO_ERRORS_ANY EDQUOT, EFBIG, EINTR, EINVAL, EIO, ENAMETOOLONG, ENODEV, ENOMEM, ETIMEDOUT

/* Indexed by the operation's number. */
extern const struct proto_op_info proto_ops[PROTO_OP_LIMIT];
/* The row, or NULL for an unknown number. */
const struct proto_op_info *proto_op_info(unsigned number);
/* The row of a request that from may send on this kind of lane; NULL: the request breaks the protocol. */
const struct proto_op_info *proto_op_expected(unsigned number, enum proto_lane lane, enum proto_from from);
/* The row's ERRORS as text, "ENOENT, ENOTDIR"; "" if none. */
const char *proto_op_errors(unsigned number);
/* Whether a reply of this operation may carry this errno. */
bool proto_op_may_fail(unsigned number, int error);

/* struct proto_lookup_request, struct proto_lookup_reply and so on. */
#define REQUEST(op)            struct proto_##op##_request {
#define FIELD(kind, name, doc) proto_type_##kind name;
#define REPLY(op)                                                                                                      \
	}                                                                                                              \
	;                                                                                                              \
	struct proto_##op##_reply {
#define END(op)                                                                                                        \
	}                                                                                                              \
	;
#include "ops.def"

/*
 * proto_encode_lookup_request(), proto_decode_lookup_request(), ..._reply(): the payload after the header. Encoding
 * returns 0, -EMSGSIZE when it does not fit, or a value's error. Decoding returns 0, or an error as explained in
 * fields.h.
 */
#define REQUEST(op)                                                                                                    \
	int proto_encode_##op##_request(struct proto_writer *writer, const struct proto_##op##_request *message);      \
	int proto_decode_##op##_request(struct proto_reader *reader, struct proto_##op##_request *ret_message);        \
	int proto_encode_##op##_reply(struct proto_writer *writer, const struct proto_##op##_reply *message);          \
	int proto_decode_##op##_reply(struct proto_reader *reader, struct proto_##op##_reply *ret_message);
#include "ops.def"

/* PROTO_MOST_ping_request, PROTO_MOST_ping_reply and so on: the largest payload in bytes, without the bytes of data. */
#define REQUEST(op)            enum { PROTO_MOST_##op##_request = 0
#define FIELD(kind, name, doc) +PROTO_MOST_##kind
#define REPLY(op)                                                                                                      \
	}                                                                                                              \
	;                                                                                                              \
	enum { PROTO_MOST_##op##_reply = 0
#define END(op)                                                                                                        \
	}                                                                                                              \
	;
#include "ops.def"

/*
 * The largest payload in bytes. PROTO_MOST_EVENT: of any message on the event lane; PROTO_MOST_LIST_REQUEST,
 * PROTO_MOST_LIST_REPLY: on a connection that FOLLOW opened. One byte is added, since a member of size 0 is not
 * allowed.
 */
#define REQUEST_SIZE(op) char op##_request[PROTO_MOST_##op##_request + 1];
#define REPLY_SIZE(op)   char op##_reply[PROTO_MOST_##op##_reply + 1];
#define SIZES_HANDSHAKE(op)
#define SIZES_DATA(op)
union proto_event_sizes {
#define SIZES_EVENT(op)      REQUEST_SIZE(op) REPLY_SIZE(op)
#define SIZES_EVENT_LIST(op) REQUEST_SIZE(op) REPLY_SIZE(op)
#define SIZES_LIST(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) SIZES_##lane(op)
#include "ops.def"
};
#undef SIZES_EVENT
#undef SIZES_EVENT_LIST
#undef SIZES_LIST
#define SIZES_EVENT(op)
union proto_list_request_sizes {
#define SIZES_EVENT_LIST(op)                                     REQUEST_SIZE(op)
#define SIZES_LIST(op)                                           REQUEST_SIZE(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) SIZES_##lane(op)
#include "ops.def"
};
#undef SIZES_EVENT_LIST
#undef SIZES_LIST
union proto_list_reply_sizes {
#define SIZES_EVENT_LIST(op)                                     REPLY_SIZE(op)
#define SIZES_LIST(op)                                           REPLY_SIZE(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) SIZES_##lane(op)
#include "ops.def"
};
#undef REQUEST_SIZE
#undef REPLY_SIZE
#undef SIZES_HANDSHAKE
#undef SIZES_EVENT
#undef SIZES_EVENT_LIST
#undef SIZES_LIST
#undef SIZES_DATA
enum {
	PROTO_MOST_EVENT = sizeof(union proto_event_sizes),
	PROTO_MOST_LIST_REQUEST = sizeof(union proto_list_request_sizes),
	PROTO_MOST_LIST_REPLY = sizeof(union proto_list_reply_sizes),
};
