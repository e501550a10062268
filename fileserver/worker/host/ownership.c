/* SPDX-License-Identifier: Apache-2.0 */
/* The owners and modes that the guest sees, and the record of those that cannot be real. */
#include "fileserver/worker/host/ownership.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <time.h>

#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/host/xattr-at.h"
#include "fileserver/worker/host/xattr-names.h"
#include "protocol/faults.h"
#include "protocol/number.h"

enum { OVERFLOW_ID = 65534, SPECIAL_BITS = 07000, RECORD_MAX = 96, CTIME_TICK_NS = 20000000 };

/* Parses a decimal or octal number of at most max; *at moves behind it. */
static bool parse_number(const char **at, unsigned base, unsigned long max, uint32_t *ret_value)
{
	uint64_t value;

	if (number_begin(*at, base, max, &value, at) < 0)
		return false;
	*ret_value = (uint32_t) value;
	return true;
}

static bool parse_device(const char *at, mode_t type, struct ownership *record)
{
	uint32_t major_number, minor_number;

	if (!parse_number(&at, 10, 0xfff, &major_number) || *at++ != '-' ||
	    !parse_number(&at, 10, 0xfffff, &minor_number) || *at != '\0')
		return false;
	record->mode |= type;
	record->rdev = (minor_number & 0xff) | (major_number << 8) | ((minor_number & ~0xffU) << 12);
	return true;
}

static bool parse_type(const char *text, struct ownership *record)
{
	if (strcmp(text, "file") == 0 || strcmp(text, "dir") == 0 || strcmp(text, "symlink") == 0)
		return true; /* the real type of the file counts */
	if (strcmp(text, "pipe") == 0)
		record->mode |= S_IFIFO;
	else if (strcmp(text, "socket") == 0)
		record->mode |= S_IFSOCK;
	else if (strncmp(text, "block-", 6) == 0)
		return parse_device(text + 6, S_IFBLK, record);
	else if (strncmp(text, "char-", 5) == 0)
		return parse_device(text + 5, S_IFCHR, record);
	else
		return false;
	return true;
}

bool ownership_parse(const char *text, size_t length, struct ownership *ret_record)
{
	char copy[RECORD_MAX + 1];
	struct ownership record = { 0 };
	const char *at = copy;
	uint32_t mode;

	if (length > RECORD_MAX || memchr(text, '\0', length) != NULL)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (!parse_number(&at, 10, UINT32_MAX - 1, &record.uid) || *at++ != ':' ||
	    !parse_number(&at, 10, UINT32_MAX - 1, &record.gid) || *at++ != ':' ||
	    !parse_number(&at, 8, S_IFMT | 07777, &mode))
		return false;
	record.mode = mode & 07777;
	if (*at != '\0' && (*at != ':' || !parse_type(at + 1, &record)))
		return false;
	*ret_record = record;
	return true;
}

/* Formats "uid:gid:mode:type". */
static int format(const struct ownership *record, char text[RECORD_MAX])
{
	char type[40] = "file";
	unsigned major_number = (record->rdev >> 8) & 0xfff;
	unsigned minor_number = (record->rdev & 0xff) | ((record->rdev >> 12) & 0xfff00);

	switch (record->mode & S_IFMT) {
	case S_IFDIR:
		strcpy(type, "dir");
		break;
	case S_IFIFO:
		strcpy(type, "pipe");
		break;
	case S_IFSOCK:
		strcpy(type, "socket");
		break;
	case S_IFBLK:
		(void) snprintf(type, sizeof(type), "block-%u-%u", major_number, minor_number);
		break;
	case S_IFCHR:
		(void) snprintf(type, sizeof(type), "char-%u-%u", major_number, minor_number);
		break;
	default:
		break;
	}
	return snprintf(text, RECORD_MAX, "%u:%u:0%o:%s", record->uid, record->gid, record->mode & 07777, type);
}

static bool owner_host(const struct session *session)
{
	return (session->config.flags & PROTO_HELLO_OWNER_HOST) != 0;
}

static const char *record_name(const struct session *session)
{
	return xattr_names_are_roots(session) ? XATTR_NAMES_OWNERSHIP_ROOT : XATTR_NAMES_OWNERSHIP;
}

/*
 * Reads the record. Returns 0; -ENODATA: none, or it is invalid; -EACCES: the owner's own bits hide it; or an error of
 * getxattr(2).
 */
static int read_record(const struct session *session, const struct ownership_place *place, bool directory,
                       struct ownership *ret_record)
{
	char value[RECORD_MAX];
	ssize_t n = xattr_at_get(place->fd, place->name, directory, record_name(session), value, sizeof(value));

	if (n < 0 && n != -EOPNOTSUPP && n != -ERANGE)
		return (int) n;
	return n > 0 && ownership_parse(value, (size_t) n, ret_record) ? 0 : -ENODATA;
}

/* What the names of an object's attributes show. */
struct names_seen {
	bool record;
	bool bare;
};

/* Lists the names, which needs no permission but to search the directory. Returns 0 or -EACCES. */
static int look_at_names(const struct session *session, const struct ownership_place *place, bool directory,
                         struct names_seen *ret_seen)
{
	char names[4096];
	const char *wanted = record_name(session);
	ssize_t n = xattr_at_list(place->fd, place->name, directory, names, sizeof(names));

	/* When the list fails or is too long, there may be any attribute. */
	*ret_seen = (struct names_seen){ .record = n < 0 && n != -EOPNOTSUPP, .bare = n >= 0 || n == -EOPNOTSUPP };
	for (ssize_t at = 0; at < n; at += (ssize_t) strlen(names + at) + 1) {
		if (strcmp(names + at, wanted) == 0)
			ret_seen->record = true;
		if (xattr_names_is_shown(session, names + at))
			ret_seen->bare = false;
	}
	return n == -EACCES ? -EACCES : 0;
}

/* Linux allows user.* attributes only on these (xattr(7)). */
static bool may_have_attributes(const struct statx *stx)
{
	return S_ISREG(stx->stx_mode) || S_ISDIR(stx->stx_mode);
}

/* The view of an object without a record. */
static void default_view(const struct session *session, const struct statx *stx, struct ownership *ret_view)
{
	bool own = stx->stx_uid == session->uid;
	bool host = owner_host(session);

	ret_view->uid = host ? stx->stx_uid : own ? session->config.view_uid : OVERFLOW_ID;
	ret_view->gid = host ? stx->stx_gid : own ? session->config.view_gid : OVERFLOW_ID;
	ret_view->mode = stx->stx_mode;
	ret_view->rdev = 0;
	ret_view->unrecorded = false;
	ret_view->bare = !may_have_attributes(stx);
	if (S_ISBLK(stx->stx_mode) || S_ISCHR(stx->stx_mode))
		ret_view->rdev = (stx->stx_rdev_minor & 0xff) | (stx->stx_rdev_major << 8) |
		                 ((stx->stx_rdev_minor & ~0xffU) << 12);
}

static bool may_have_record(const struct session *session, const struct statx *stx)
{
	bool owned = stx->stx_uid == session->uid || (owner_host(session) && session->uid == 0);

	return owned && may_have_attributes(stx);
}

/* Whether the next change is sure to change ctime: before Linux 6.13, ctime moves in ticks of up to 10 ms. */
static bool may_keep(const struct statx *stx)
{
	struct timespec now;
	int64_t age;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	age = ((int64_t) now.tv_sec - stx->stx_ctime.tv_sec) * 1000000000 + now.tv_nsec - stx->stx_ctime.tv_nsec;
	return age > CTIME_TICK_NS;
}

static void keep(struct session *session, struct node *node, const struct statx *stx, const struct ownership *view,
                 bool bare)
{
	if (may_keep(stx))
		nodes_keep_view(session->nodes, node, stx, view, bare);
}

static void apply_record(const struct session *session, const struct statx *stx, const struct ownership *record,
                         struct ownership *view)
{
	if (!owner_host(session)) {
		view->uid = record->uid;
		view->gid = record->gid;
	}
	view->mode = (stx->stx_mode & (S_IFMT | 0777)) | (record->mode & SPECIAL_BITS);
	if (S_ISREG(stx->stx_mode) && (record->mode & S_IFMT) != 0 && stx->stx_size == 0) {
		view->mode = (view->mode & 07777) | (record->mode & S_IFMT);
		view->rdev = record->rdev;
	}
}

int ownership_view(struct session *session, struct node *node, const struct ownership_place *place,
                   const struct statx *stx, struct ownership *ret_view)
{
	bool directory = S_ISDIR(stx->stx_mode);
	struct ownership record;
	struct names_seen seen;
	int r;

	default_view(session, stx, ret_view);
	if (!may_have_attributes(stx) || nodes_view_at(session->nodes, node, stx, ret_view) != NODES_VIEW_UNKNOWN)
		return 0;
	struct lift lift = LIFT_INIT(session);
	lift.record = true;
	do {
		r = look_at_names(session, place, directory, &seen);
		if (r == 0)
			r = seen.record && may_have_record(session, stx)
			            ? read_record(session, place, directory, &record)
			            : -ENODATA;
	} while (lift_again(&lift, r));
	ret_view->bare = seen.bare;
	ret_view->unrecorded = !seen.record;
	if (r < 0) {
		if (r == -ENODATA)
			keep(session, node, stx, NULL, seen.bare);
		return r == -ENODATA ? 1 : r;
	}
	apply_record(session, stx, &record, ret_view);
	keep(session, node, stx, ret_view, seen.bare);
	return 1;
}

void ownership_view_new(const struct session *session, const struct statx *stx, const struct ownership *record,
                        struct ownership *ret_view)
{
	default_view(session, stx, ret_view);
	if (record != NULL)
		apply_record(session, stx, record, ret_view);
	ret_view->bare = true;
}

void ownership_keep(struct session *session, struct node *node, const struct statx *stx, const struct proto_attr *attr)
{
	struct ownership view = { .uid = attr->uid, .gid = attr->gid, .mode = attr->mode, .rdev = attr->rdev }, plain;
	bool is_plain;

	default_view(session, stx, &plain);
	is_plain = view.uid == plain.uid && view.gid == plain.gid && view.mode == plain.mode && view.rdev == plain.rdev;
	keep(session, node, stx, is_plain ? NULL : &view, (attr->flags & PROTO_ATTR_BARE) != 0);
}

bool ownership_is_default(const struct session *session, const struct statx *stx, const struct ownership *wanted)
{
	struct ownership plain;

	default_view(session, stx, &plain);
	return (plain.mode & (S_IFMT | SPECIAL_BITS)) == (wanted->mode & (S_IFMT | SPECIAL_BITS)) &&
	       (owner_host(session) || (plain.uid == wanted->uid && plain.gid == wanted->gid));
}

int ownership_record(struct session *session, int fd, const struct statx *stx, const struct ownership *wanted)
{
	struct lift lift = LIFT_INIT(session);
	struct ownership_place place = { .fd = fd };
	char text[RECORD_MAX];
	bool same = ownership_is_default(session, stx, wanted);
	struct names_seen seen = { .record = true };
	int r, length;

	if (!may_have_record(session, stx))
		return same ? 0 : -EPERM;
	if (same && wanted->unrecorded)
		return 0;
	if (same && look_at_names(session, &place, S_ISDIR(stx->stx_mode), &seen) == 0 && !seen.record)
		return 0;
	length = format(wanted, text);
	lift.record = true;
	do {
		r = same ? xattr_at_remove(fd, record_name(session))
		         : xattr_at_set(fd, record_name(session), text, (size_t) length, 0);
		if (same && (r == -ENODATA || r == -EOPNOTSUPP))
			r = 0;
	} while (lift_again(&lift, r));
	nodes_drop_view(session->nodes, stx);
	return r == -EOPNOTSUPP ? -EPERM : r;
}

void ownership_of_new(struct session *session, const struct ownership *parent, const struct proto_owner *owner,
                      mode_t mode, uint32_t rdev, struct ownership *ret_wanted)
{
	bool fixed = owner_host(session);

	*ret_wanted = (struct ownership){
		.uid = fixed ? session->config.view_uid : owner->uid,
		.gid = fixed ? session->config.view_gid : owner->gid,
		.mode = mode,
		.rdev = rdev,
	};
	if ((parent->mode & S_ISGID) != 0) {
		ret_wanted->gid = parent->gid;
		if (S_ISDIR(mode))
			ret_wanted->mode |= S_ISGID;
	}
}

int ownership_kill_privileges(struct session *session, int fd)
{
	struct ownership_place place = { .fd = fd };
	struct ownership view;
	struct statx stx;
	mode_t kill = S_ISUID;
	int r;

	r = reach_stat(session, fd, &stx);
	if (r < 0)
		return r;
	if (!S_ISREG(stx.stx_mode))
		return 0;
	r = ownership_view(session, NULL, &place, &stx, &view);
	if (r < 0)
		return r;
	if ((view.mode & S_IXGRP) != 0)
		kill |= S_ISGID;
	/*
	 * setuid and setgid bits that are real: the host's kernel clears them itself, but not for root. chown(2) to the
	 * same owner clears them and nothing else; chmod(2) would also undo a change that somebody made meanwhile.
	 */
	if ((stx.stx_mode & kill) != 0) {
		if (FAULT(WORKER_CHOWN, fchownat(fd, "", (uid_t) -1, (gid_t) -1, AT_EMPTY_PATH)) < 0)
			return -errno;
		stx.stx_mode &= (uint16_t) ~kill;
	}
	if ((view.mode & kill) == 0)
		return 0;
	view.mode &= ~kill;
	return ownership_record(session, fd, &stx, &view);
}
