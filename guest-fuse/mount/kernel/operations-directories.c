/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on open directories. */
#define FUSE_USE_VERSION 314
#include <stdlib.h>

#include "guest-fuse/mount/kernel/operation.h"
#include "guest-fuse/mount/kernel/operations-parts.h"
#include "guest-fuse/mount/kernel/scan.h"
#include "guest-fuse/mount/known/directory.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/lock.h"

/* Bytes to fetch after a seek, and from the beginning. Each fetch that goes on from there takes four times as many. */
enum { WINDOW_LEAST = 8 * 1024, WINDOW_FIRST = 64 * 1024 };

enum { DIRENTPLUS_LEAST = 152 /* struct fuse_direntplus of linux/fuse.h without a name */ };

static struct directory *directory_of(const struct fuse_file_info *fi)
{
	return (struct directory *) (uintptr_t) fi->fh;
}

/* asked: clock_ns() before the server was. */
static int take_piece(struct thread *thread, struct directory *directory, size_t length, uint64_t after, int64_t asked,
                      bool end)
{
	struct answer answer = request_told(&thread->request);
	struct directory_piece piece;
	int r;

	answer.since = asked;
	r = directory_piece_init(request_data(&thread->request), length, after, &answer, end, &piece);

	if (r < 0) {
		effects_drop_entries(thread->client, request_data(&thread->request), length);
		return r;
	}
	effects_drop_piece(thread->client, &directory->piece);
	directory->piece = piece;
	return 0;
}

static void directory_free(struct thread *thread, struct directory *directory)
{
	effects_drop_piece(thread->client, &directory->piece);
	if (directory->handle != 0)
		effects_close(thread, directory->handle);
	lock_done(&directory->lock);
	free(directory);
}

static int open_at_server(struct thread *thread, struct directory *directory) LOCK_HELD(directory->lock);
/* Opens the directory at the server and takes its first entries. */
static int open_at_server(struct thread *thread, struct directory *directory)
{
	struct proto_opendir_request request = { .node = directory->node, .size = PROTO_DATA_MAX };
	struct proto_opendir_reply reply;
	int64_t asked = clock_ns();
	int r = rpc_opendir_data(&thread->request, &request, &reply);

	if (r == -ENFILE) {
		effects_make_room(thread);
		r = rpc_opendir_data(&thread->request, &request, &reply);
	}
	if (r < 0)
		return r;
	directory->handle = reply.handle;
	directory->window = request.size;
	if (thread->request.leased)
		objects_note_listed(thread->client->objects, directory->node, thread->request.events);
	return take_piece(thread, directory, reply.entries.length, 0, asked, reply.end != 0);
}

/*
 * Whether the directory was opened before, under a lease that holds: then it can be opened, and the kernel most likely
 * has its entries. The server is asked when they are read all the same.
 */
static bool is_listed(const struct client *client, uint64_t node)
{
	struct answer answer = { .leased = true };

	return objects_listed(client->objects, node, &answer.events) &&
	       validity_entries(client->validity, node, &answer) > 0;
}

static int open_to_list(struct thread *thread, struct directory *directory)
{
	struct client *client = thread->client;
	int r = 0;

	lock_take(&directory->lock);
	if (scan_list(thread, directory->node, &directory->piece))
		objects_note_listed(client->objects, directory->node, directory->piece.answer.events);
	else
		r = open_at_server(thread, directory);
	lock_give(&directory->lock);
	return r;
}

static void open_directory(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct client *client = thread->client;
	struct directory *directory = FAULT_NULL(MOUNT_FILE, calloc(1, sizeof(*directory)));
	int r = 0;

	if (directory == NULL) {
		reply_error(req, -ENOMEM);
		return;
	}
	directory->node = wire(thread, ino);
	lock_init(&directory->lock);
	fi->fh = (uint64_t) (uintptr_t) directory;
	fi->keep_cache = is_listed(client, directory->node);
	if (!fi->keep_cache)
		r = open_to_list(thread, directory);
	/* The kernel keeps the entries that it is given, until it is told that they do not hold. */
	fi->cache_readdir = fi->keep_cache || (r == 0 && is_listed(client, directory->node));
	if (r < 0)
		reply_error(req, r);
	else
		r = fuse_reply_open(req, fi);
	if (r < 0)
		directory_free(thread, directory);
}

static int need_handle(struct thread *thread, struct directory *directory) LOCK_HELD(directory->lock);
/* Opens the directory at the server if that was not needed before. */
static int need_handle(struct thread *thread, struct directory *directory)
{
	return directory->handle != 0 ? 0 : open_at_server(thread, directory);
}

/*
 * Whether a listing may begin with the piece at hand. Only the first listing may, since each later one follows a
 * rewinddir() and must be fetched; and only while the entries are valid, since a directory can be open for long before
 * it is listed.
 */
static bool can_begin(const struct client *client, const struct directory *directory)
{
	const struct directory_piece *piece = &directory->piece;

	return !directory->begun && validity_entries(client->validity, directory->node, &piece->answer) > 0 &&
	       objects_changed_at(client->objects, directory->node) < piece->answer.since;
}

/*
 * How many bytes to fetch after cookie. A listing that goes on at the end of the piece at hand will want the rest as
 * well; after a seek it may want one entry only, and each costs the server a look at the file.
 */
static uint32_t window_at(const struct directory *directory, uint64_t cookie)
{
	const struct directory_piece *piece = &directory->piece;

	if (cookie == 0)
		return WINDOW_FIRST;
	if (piece->count == 0 || piece->items[piece->count - 1].cookie != cookie)
		return WINDOW_LEAST;
	return directory->window < PROTO_DATA_MAX / 4 ? directory->window * 4 : PROTO_DATA_MAX;
}

static ssize_t find_at_hand(const struct client *client, const struct directory *directory, uint64_t cookie)
        LOCK_HELD(directory->lock);
/* The index of the entry after cookie in the piece at hand, or -1. */
static ssize_t find_at_hand(const struct client *client, const struct directory *directory, uint64_t cookie)
{
	return cookie == 0 && !can_begin(client, directory) ? -1 : directory_piece_find(&directory->piece, cookie);
}

static int seek(struct thread *thread, struct directory *directory, uint64_t cookie, size_t *ret_index)
        LOCK_HELD(directory->lock);
/* The index of the entry after cookie; fetches a piece when the one at hand does not have it. */
static int seek(struct thread *thread, struct directory *directory, uint64_t cookie, size_t *ret_index)
{
	struct proto_readdir_request request = { .cookie = cookie };
	struct proto_readdir_reply reply;
	ssize_t index = find_at_hand(thread->client, directory, cookie);
	int64_t asked;
	int r;

	if (index < 0 && directory->handle == 0) {
		r = need_handle(thread, directory);
		if (r < 0)
			return r;
		index = find_at_hand(thread->client, directory, cookie);
	}
	directory->begun = directory->begun || cookie == 0;
	request.handle = directory->handle;
	if (index < 0) {
		request.size = directory->window = window_at(directory, cookie);
		asked = clock_ns();
		r = rpc_readdir_data(&thread->request, &request, &reply);
		if (r == 0)
			r = take_piece(thread, directory, reply.entries.length, cookie, asked, reply.end != 0);
		if (r < 0)
			return r;
		index = 0;
	}
	*ret_index = (size_t) index;
	return 0;
}

/*
 * For how long the kernel may keep this entry and its attributes: false when they are no longer valid or the object was
 * changed from here. Then the kernel makes no entry of it, and looks the name up when it needs it.
 */
static bool is_fresh(const struct client *client, const struct directory *directory, const struct proto_dirent *dirent,
                     struct fuse_entry_param *param)
{
	const struct proto_entry entry = { .node = dirent->node, .attr = dirent->attr };
	const struct answer *answer = &directory->piece.answer;

	if (dirent->node == 0 || objects_changed_at(client->objects, dirent->node) >= answer->since)
		return false;
	validity_entry(client->validity, directory->node, &entry, answer, &param->entry_timeout, &param->attr_timeout);
	return param->entry_timeout > 0 && param->attr_timeout > 0;
}

/* Gives the kernel a look-up of the entry's node: with the piece's reference, or without if the kernel has the node. */
static bool give(struct client *client, struct directory *directory, struct directory_item *item,
                 const struct proto_dirent *dirent)
{
	struct proto_entry entry = { .node = dirent->node, .attr = dirent->attr };

	if (item->held ? objects_learn(client->objects, directory->node, dirent->name.text, &entry, 1) < 0
	               : !objects_learn_again(client->objects, directory->node, dirent->name.text, &entry))
		return false;
	objects_note_flags(client->objects, entry.node, entry.attr.flags, directory->piece.answer.since);
	item->held = false;
	return true;
}

/* Adds one entry with its attributes. 0 when it does not fit; else how many bytes. *ret_given: a look-up was given. */
static size_t add_plus(fuse_req_t req, struct directory *directory, size_t index, char *at, size_t room,
                       uint64_t *ret_given)
{
	struct client *client = thread_current()->client;
	struct directory_item *item = &directory->piece.items[index];
	struct fuse_entry_param param;
	struct proto_dirent dirent;
	size_t size;

	*ret_given = 0;
	directory_piece_entry(&directory->piece, index, &dirent);
	size = fuse_add_direntry_plus(req, NULL, 0, dirent.name.text, NULL, 0);
	if (size > room)
		return 0;
	param = (struct fuse_entry_param){ .ino = 0 };
	attributes_to_stat(&dirent.attr, client->block_size, &param.attr);
	/* Attributes of a bound file are sent only in answer to questions about it. */
	if (!file_binds_has(client->file_binds, dirent.node) && is_fresh(client, directory, &dirent, &param) &&
	    give(client, directory, item, &dirent)) {
		param.ino = *ret_given = dirent.node;
		param.attr_timeout = objects_keep(client->objects, client->validity, dirent.node, &dirent.attr,
		                                  &directory->piece.answer);
	}
	return fuse_add_direntry_plus(req, at, room, dirent.name.text, &param, (off_t) dirent.cookie);
}

static size_t add_plain(fuse_req_t req, struct directory *directory, size_t index, char *at, size_t room)
{
	struct proto_dirent dirent;
	struct stat st;
	size_t size;

	directory_piece_entry(&directory->piece, index, &dirent);
	attributes_to_stat(&dirent.attr, 0, &st);
	size = fuse_add_direntry(req, at, room, dirent.name.text, &st, (off_t) dirent.cookie);
	return size > room ? 0 : size;
}

static void list(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
	struct thread *thread = thread_current();
	struct directory *directory = directory_of(fi);
	struct client *client = thread->client;
	char *bytes;
	uint64_t *given;
	size_t index, length = 0, count = 0;
	int r;

	/* The answer is built behind the kernel's request; the piece was copied from there. */
	bytes = (char *) request_data(&thread->request);
	size = size < PROTO_DATA_MAX ? size : PROTO_DATA_MAX;
	given = plus ? FAULT_NULL(MOUNT_LISTING, calloc(size / DIRENTPLUS_LEAST + 1, sizeof(*given))) : NULL;
	if (plus && given == NULL) {
		reply_error(req, -ENOMEM);
		return;
	}
	lock_take(&directory->lock);
	r = seek(thread, directory, (uint64_t) offset, &index);
	while (r == 0 && index < directory->piece.count) {
		uint64_t node = 0;
		size_t n = plus ? add_plus(req, directory, index, bytes + length, size - length, &node)
		                : add_plain(req, directory, index, bytes + length, size - length);

		if (n == 0)
			break;
		if (node != 0)
			given[count++] = node;
		length += n;
		index++;
	}
	lock_give(&directory->lock);
	if (r < 0)
		reply_error(req, r);
	else if (fuse_reply_buf(req, bytes, length) < 0)
		while (count > 0)
			effects_not_taken(client, given[--count]);
	free(given);
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, size, offset, fi, false);
}

static void read_directory_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list(req, size, offset, fi, true);
}

static void release_directory(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	directory_free(thread_current(), directory_of(fi));
	reply_error(req, 0);
	connection_forget_many(&thread_current()->connection);
}

static void sync_directory(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct directory *directory = directory_of(fi);
	struct thread *thread = thread_current();
	struct proto_fsync_request request = { .datasync = datasync != 0 };
	struct proto_fsync_reply reply;
	int r;

	lock_take(&directory->lock);
	r = need_handle(thread, directory);
	lock_give(&directory->lock);
	request.handle = directory->handle;
	reply_error(req, r < 0 ? r : rpc_fsync(&thread->request, &request, &reply));
}

void operations_fill_directories(struct fuse_lowlevel_ops *ops)
{
	ops->opendir = open_directory;
	ops->readdir = read_directory;
	ops->readdirplus = read_directory_plus;
	ops->releasedir = release_directory;
	ops->fsyncdir = sync_directory;
}
