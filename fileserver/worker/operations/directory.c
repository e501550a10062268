/* SPDX-License-Identifier: Apache-2.0 */
/* OPENDIR, READDIR and SCAN: entries with their attributes, as many as fit. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/host/spelling.h"
#include "fileserver/worker/leases/leases.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

/*
 * Ticks of the clock of file times are 10 ms at most. And where names are made all the time, the guest had better ask
 * for each: it is told of a name that was made only after it could have asked.
 */
enum { SCAN_QUIET_US = 300000 };

/* The entries of one request: collected into the reply's data, sent chunk by chunk. */
struct listing {
	struct call *call;
	struct pinned directory;
	uint64_t handle;
	uint32_t count; /* of what SCAN has counted */
	size_t left;    /* bytes that may still be added */
	struct proto_writer writer;
	unsigned reads; /* getdents64(2) that found entries */
	bool full;      /* the last of them may have had room for no more */
	bool some;      /* at least one entry was added */
	bool end;
};

/* An entry that cannot be looked at, or "." or "..": inode number and type only. */
static void entry_plain(const struct dirent64 *from, struct proto_dirent *to)
{
	to->node = 0;
	to->attr = (struct proto_attr){ .ino = from->d_ino, .mode = DTTOIF(from->d_type) };
}

/* "." and "..", with the inode numbers of stat(2): at a mount point in the share d_ino differs. */
static void entry_dots(struct listing *listing, const struct dirent64 *from, struct proto_dirent *to)
{
	struct session *session = listing->call->session;
	/* The guest must not learn about the directory above the share. */
	bool top = nodes_id(listing->directory.node) == nodes_root(session->nodes);
	struct statx stx;

	entry_plain(from, to);
	if (statx(listing->directory.fd.fd, top ? "." : from->d_name, AT_SYMLINK_NOFOLLOW, STATX_INO, &stx) == 0)
		to->attr.ino = inodes_number(&session->inodes, session->nodes, &stx);
}

/* Fills a whole entry. Returns false when the object is gone meanwhile. */
static bool entry_fill(struct listing *listing, const struct dirent64 *from, struct proto_dirent *to)
{
	struct session *session = listing->call->session;
	struct proto_entry entry;
	struct statx stx;
	int r;

	to->cookie = (uint64_t) from->d_off;
	to->name.length = strlen(from->d_name);
	memcpy(to->name.text, from->d_name, to->name.length + 1);
	if (strcmp(from->d_name, ".") == 0 || strcmp(from->d_name, "..") == 0) {
		entry_dots(listing, from, to);
		return true;
	}
	if (protect_hides(&session->protect, listing->directory.node, from->d_name))
		return false;
	r = reach_stat_name(session, listing->directory.fd.fd, from->d_name, &stx);
	if (r == -ENOENT)
		return false;
	if (r == 0)
		r = entries_learn(session, &listing->directory, from->d_name, &stx, -EBADF, &entry, NULL);
	if (r < 0) {
		entry_plain(from, to);
		return true;
	}
	to->node = entry.node;
	to->attr = entry.attr;
	listing->call->unleased |= (entry.attr.flags & PROTO_ATTR_LEASED) == 0;
	return true;
}

/* Sends the data that fill a frame; keeps the rest. */
static int send_full(struct listing *listing)
{
	struct call *call = listing->call;
	size_t length = (size_t) (listing->writer.next - listing->writer.start);
	struct proto_data data = { .length = PROTO_CHUNK, .available = PROTO_CHUNK, .bytes = call->data };
	struct proto_opendir_reply opened = { .handle = listing->handle, .entries = data };
	struct proto_readdir_reply more = { .entries = data };
	/* Of the fields besides the data those of the last frame count. */
	struct proto_scan_reply whole = { .count = listing->count, .entries = data };
	struct proto_writer writer;
	int r;

	if (length < PROTO_CHUNK)
		return 0;
	proto_writer_init(&writer, call->fields, PROTO_SMALL_MAX);
	r = call->op == PROTO_OPENDIR ? proto_encode_opendir_reply(&writer, &opened)
	    : call->op == PROTO_SCAN  ? proto_encode_scan_reply(&writer, &whole)
	                              : proto_encode_readdir_reply(&writer, &more);
	if (r == 0)
		r = call_send_part(call, &writer);
	memmove(listing->writer.start, listing->writer.start + PROTO_CHUNK, length - PROTO_CHUNK);
	listing->writer.next -= PROTO_CHUNK;
	return r;
}

/* Adds the entries of one getdents64(2). Returns 1: there may be more; 0: no more fit; or a negative errno. */
static int add_entries(struct listing *listing, const char *bytes, size_t size)
{
	for (size_t at = 0; at < size;) {
		const struct dirent64 *from = (const void *) (bytes + at);
		struct proto_dirent entry;
		int r;

		if (listing->left < PROTO_DIRENT_MAX)
			return 0;
		at += from->d_reclen;
		if (strlen(from->d_name) > PROTO_NAME_MAX || !entry_fill(listing, from, &entry))
			continue;
		proto_put_dirent(&listing->writer, &entry);
		listing->some = true;
		listing->left -= PROTO_DIRENT_MAX - PROTO_NAME_MAX + entry.name.length;
		r = send_full(listing);
		if (r < 0)
			return r;
	}
	return 1;
}

/* Entries collected before the error carry references: they are sent, and the next request gets the error. */
static int listing_failed(struct listing *listing, int error)
{
	if (error == -ENOENT) /* the directory was removed: no more entries */
		listing->end = true;
	return listing->end || listing->some ? 0 : error;
}

/* Reads entries from cookie on. Nobody else moves the descriptor's position. */
static int list(struct listing *listing, int fd, uint64_t cookie)
{
	char bytes[32768] __attribute__((aligned(8)));
	int r = 1;

	if (lseek(fd, (off_t) cookie, SEEK_SET) < 0)
		return -errno;
	while (r > 0) {
		long n = FAULT(WORKER_LIST, getdents64(fd, bytes, sizeof(bytes)));

		if (n < 0)
			return listing_failed(listing, -errno);
		if (n == 0) {
			listing->end = true;
			return 0;
		}
		listing->reads++;
		listing->full = sizeof(bytes) - (size_t) n < sizeof(struct dirent64);
		r = add_entries(listing, bytes, (size_t) n);
	}
	return r;
}

static int serve(struct listing *listing, struct handle *handle, uint64_t cookie, uint32_t size, uint32_t *ret_end,
                 struct proto_data *ret_entries)
{
	struct call *call = listing->call;
	struct session *session = call->session;
	int r;

	listing->left = size < PROTO_DATA_MAX ? size : PROTO_DATA_MAX;
	proto_writer_init(&listing->writer, call->data, call->data_size);
	listing->directory.node = handle->node;
	r = nodes_fd(session->nodes, handle->node, &listing->directory.fd);
	if (r < 0)
		return r;
	call->leased = listing->directory.leased = leases_hold(session->leases, handle->node, listing->directory.fd.fd);
	lock_take(&handle->lock);
	r = list(listing, handle->fd, cookie);
	lock_give(&handle->lock);
	nodes_fd_done(session->nodes, &listing->directory.fd);
	if (r < 0)
		return r;
	*ret_end = listing->end ? 1 : 0;
	ret_entries->length = ret_entries->available = (size_t) (listing->writer.next - listing->writer.start);
	ret_entries->bytes = call->data;
	return 0;
}

int worker_readdir(struct call *call, const struct worker_readdir *request, struct proto_readdir_reply *ret_reply)
{
	struct listing listing = { .call = call };

	if (request->size < PROTO_DIRENT_MAX || request->cookie > INT64_MAX)
		return -EINVAL;
	return serve(&listing, request->handle, request->cookie, request->size, &ret_reply->end, &ret_reply->entries);
}

/* A descriptor that can be read, or a negative errno. flags: 0, or O_NOATIME, which needs the user's own directory. */
static int open_to_read(struct session *session, const struct pinned *directory, int flags)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do {
		fd = resolve_reopen(directory->fd.fd, O_RDONLY | O_DIRECTORY | flags);
		if (fd == -EPERM && flags != 0)
			fd = resolve_reopen(directory->fd.fd, O_RDONLY | O_DIRECTORY);
	} while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

static int open_directory(struct session *session, const struct pinned *directory, uint64_t *ret_id,
                          struct handle **ret_handle)
{
	int fd = open_to_read(session, directory, 0), r;

	r = fd < 0 ? fd : nodes_open(session->nodes, directory->node, fd, true, true, false, ret_id, ret_handle);
	if (r < 0)
		close_fd(fd);
	return r;
}

int worker_opendir(struct call *call, const struct worker_opendir *request, struct proto_opendir_reply *ret_reply)
{
	struct nodes *nodes = call->session->nodes;
	struct listing listing = { .call = call };
	struct handle *handle;
	int r;

	if (request->size < PROTO_DIRENT_MAX)
		return -EINVAL;
	r = open_directory(call->session, request->node, &ret_reply->handle, &handle);
	if (r < 0)
		return r;
	listing.handle = ret_reply->handle;
	r = serve(&listing, handle, 0, request->size, &ret_reply->end, &ret_reply->entries);
	if (r < 0)
		nodes_close(nodes, handle);
	nodes_handle_put(nodes, handle);
	return r;
}

/* Counts entries, "." and ".." as well, until there are more than most. 0 or a negative errno. */
static int count_entries(int fd, uint32_t most, uint32_t *ret_count)
{
	char bytes[32768] __attribute__((aligned(8)));
	uint32_t count = 0;
	long n = 1;

	while (n > 0 && count <= most) {
		n = FAULT(WORKER_LIST, getdents64(fd, bytes, sizeof(bytes)));
		if (n < 0)
			return -errno;
		for (long at = 0; at < n; count++)
			at += ((const struct dirent64 *) (const void *) (bytes + at))->d_reclen;
	}
	*ret_count = count;
	return 0;
}

static bool is_before(const struct statx_timestamp *left, const struct timespec *right)
{
	return left->tv_sec < right->tv_sec || (left->tv_sec == right->tv_sec && (long) left->tv_nsec < right->tv_nsec);
}

/*
 * Whether the directory was left alone from before it was listed until now. Between two getdents64(2) a name may come
 * to be another file's, which stands where was read before, though the name was never missing. The clock of file times
 * is a coarse one: what was changed within SCAN_QUIET_US may have been changed again without another time.
 */
static bool is_unchanged(const struct statx *before, const struct statx *after, const struct timespec *begun)
{
	struct timespec quiet =
	        clock_timespec_us(begun->tv_sec * INT64_C(1000000) + begun->tv_nsec / 1000 - SCAN_QUIET_US);

	return before->stx_ctime.tv_sec == after->stx_ctime.tv_sec &&
	       before->stx_ctime.tv_nsec == after->stx_ctime.tv_nsec && is_before(&before->stx_ctime, &quiet);
}

/*
 * Whether nobody but the guest has changed the directory of late, and it was listed by one getdents64(2), which holds
 * the directory's lock (iterate_dir() in fs/readdir.c, on all file systems where there are leases): so no name is
 * missed that was there all the time. A name that others have just made may be missing.
 */
static bool is_the_guests(const struct listing *listing, const struct statx *before)
{
	return listing->reads <= 1 && !listing->full && entries_are_left(&listing->directory, before);
}

/* All entries of an open directory. *ret_whole: a name that is not among them is missing. */
static int scan(struct listing *listing, int fd, uint32_t *ret_whole)
{
	struct session *session = listing->call->session;
	struct statx before, after;
	struct timespec begun;
	int r = reach_stat(session, fd, &before);

	(void) clock_gettime(CLOCK_REALTIME_COARSE, &begun);
	/* Who may not look names up in it must not learn which are missing. */
	if (r == 0)
		r = reach_stat_name(session, fd, ".", &after);
	if (r == 0)
		r = list(listing, fd, 0);
	if (r < 0)
		return r;
	r = reach_stat(session, fd, &after);
	if (r < 0 || !listing->end || after.stx_nlink == 0 || !spelling_is_exact(fd))
		*ret_whole = PROTO_WHOLE_NO;
	else if (is_unchanged(&before, &after, &begun))
		*ret_whole = PROTO_WHOLE_QUIET;
	else
		*ret_whole = is_the_guests(listing, &before) ? PROTO_WHOLE_CHANGED : PROTO_WHOLE_NO;
	return 0;
}

int worker_scan(struct call *call, const struct worker_scan *request, struct proto_scan_reply *ret_reply)
{
	struct listing listing = { .call = call, .directory = *request->node };
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (request->size < PROTO_DIRENT_MAX)
		return -EINVAL;
	/* To look names up changes no time. */
	fd = open_to_read(call->session, request->node, O_NOATIME);
	r = fd < 0 ? fd : count_entries(fd, request->most, &listing.count);
	if (r < 0)
		return r;
	ret_reply->count = listing.count;
	if (listing.count > request->most)
		return 0;
	listing.left = request->size < PROTO_DATA_MAX ? request->size : PROTO_DATA_MAX;
	proto_writer_init(&listing.writer, call->data, call->data_size);
	r = scan(&listing, fd, &ret_reply->whole);
	if (r < 0)
		return r;
	ret_reply->entries.length = ret_reply->entries.available =
	        (size_t) (listing.writer.next - listing.writer.start);
	ret_reply->entries.bytes = call->data;
	return 0;
}
