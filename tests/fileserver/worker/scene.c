/* SPDX-License-Identifier: Apache-2.0 */
/* A share with a few files in it, and every operation on them. */
#include "tests/fileserver/worker/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "tests/support/picture.h"

struct scene_setting scene_setting;

/* Gives back what a listing refers to. */
static void forget_entries(struct scene *scene, const struct proto_data *entries)
{
	uint64_t nodes[64];
	size_t count = 0;
	struct proto_reader reader;
	struct proto_dirent entry;

	proto_reader_init(&reader, entries->bytes, entries->length, entries->length);
	while (reader.next < reader.end) {
		proto_get_dirent(&reader, &entry);
		if (entry.node != 0)
			nodes[count++] = entry.node;
	}
	while (count > 0)
		share_forget(scene->share, nodes[--count], 1);
}

/* Until everything that was sent without a reply is done. */
static void settle(struct scene *scene)
{
	struct proto_getattr_request request = { .node = scene->root };
	struct proto_getattr_reply reply;

	assert_int_equal(raw_getattr(scene->raw, &request, &reply), 0);
}

static uint64_t node_of(struct scene *scene, const char *name)
{
	struct proto_entry entry;

	assert_int_equal(share_lookup(scene->share, scene->root, name, &entry), 0);
	return entry.node;
}

static void give_back(struct scene *scene, uint64_t handle)
{
	(void) raw_release(scene->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
}

static void fill(struct share *share)
{
	share_host_write(share, "file", "content");
	share_host_write(share, "other", "more");
	assert_int_equal(mkdirat(share->host, "directory", 0755), 0);
	share_host_write(share, "directory/inside", "deep");
	assert_int_equal(mkdirat(share->host, "empty", 0755), 0);
	assert_int_equal(symlinkat("file", share->host, "link"), 0);
}

/* The owner's bits are taken away at last, when nothing is cached or open that would get around them. */
static void restrict_modes(struct share *share)
{
	assert_int_equal(fchmodat(share->host, "file", scene_setting.file, 0), 0);
	assert_int_equal(fchmodat(share->host, "directory", scene_setting.directory, 0), 0);
}

void scene_begin(struct scene *scene)
{
	struct share *share;
	struct proto_opendir_request list = { .size = PROTO_DIRENT_MAX };
	struct proto_setxattr_request xattr = { .name = raw_name("user.test"), .value = { 5, "value" } };
	struct proto_setattr_request owner = { .set = { .valid = PROTO_SET_UID | PROTO_SET_MODE, .uid = 7 } };
	struct proto_opendir_reply listed;
	struct proto_setattr_reply reply;

	assert_int_equal(seteuid(scene_setting.user), 0);
	share = share_new(scene_setting.flags, 1000);
	assert_non_null(share);
	fill(share);
	*scene = (struct scene){ .share = share, .raw = &share->raw, .root = share->root };
	scene->descriptors = picture_descriptors();
	scene->file = node_of(scene, "file");
	scene->directory = node_of(scene, "directory");
	scene->link = node_of(scene, "link");
	owner.node = xattr.node = scene->file;
	owner.set.mode = 06000 | scene_setting.file;
	assert_int_equal(raw_setattr(scene->raw, &owner, &reply), 0);
	assert_int_equal(raw_setxattr(scene->raw, &xattr, &(struct proto_setxattr_reply){}), 0);
	assert_int_equal(share_open(share, scene->file, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &scene->file_handle), 0);
	scene->got_node = node_of(scene, "other");
	assert_int_equal(share_open(share, scene->got_node, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &scene->other_handle),
	                 0);
	share_forget(share, scene->got_node, 1);
	scene->got_node = 0;
	list.node = scene->root;
	assert_int_equal(raw_opendir(scene->raw, &list, &listed), 0);
	scene->directory_handle = listed.handle;
	forget_entries(scene, &listed.entries);
	settle(scene);
	restrict_modes(share);
	scene->nodes = share->counters.nodes;
	scene->handles = share->counters.handles;
}

void scene_check(struct scene *scene)
{
	if (scene->got_handle != 0)
		give_back(scene, scene->got_handle);
	if (scene->got_node != 0)
		share_forget(scene->share, scene->got_node, 1);
	scene->got_handle = scene->got_node = 0;
	settle(scene);
	assert_int_equal(scene->share->counters.nodes, scene->nodes);
	assert_int_equal(scene->share->counters.handles, scene->handles);
}

void scene_end(struct scene *scene)
{
	give_back(scene, scene->file_handle);
	give_back(scene, scene->other_handle);
	give_back(scene, scene->directory_handle);
	share_forget(scene->share, scene->file, 1);
	share_forget(scene->share, scene->directory, 1);
	share_forget(scene->share, scene->link, 1);
	settle(scene);
	assert_int_equal(scene->share->counters.nodes, 1);
	assert_int_equal(scene->share->counters.handles, 0);
	assert_int_equal(picture_descriptors(), scene->descriptors);
	share_free(scene->share);
	assert_int_equal(seteuid(getuid()), 0);
}

char *scene_picture(const struct scene *scene)
{
	char *text;

	assert_int_equal(seteuid(getuid()), 0);
	text = picture_take(scene->share->directory);
	assert_int_equal(seteuid(scene_setting.user), 0);
	return text;
}

/* The operations. Each returns 0 or the server's errno. */

static int look_up(struct scene *scene, const char *name)
{
	struct proto_lookup_request request = { .parent = scene->root, .name = raw_name(name) };
	struct proto_lookup_reply reply;
	int r = raw_lookup(scene->raw, &request, &reply);

	if (r == 0)
		scene->got_node = reply.entry.node;
	return r;
}

static int look_up_file(struct scene *scene)
{
	return look_up(scene, "other");
}

static int look_up_directory(struct scene *scene)
{
	return look_up(scene, "empty");
}

static int get_attributes(struct scene *scene)
{
	struct proto_getattr_request request = { .node = scene->file };
	struct proto_getattr_reply reply;

	return raw_getattr(scene->raw, &request, &reply);
}

static int read_link(struct scene *scene)
{
	struct proto_readlink_request request = { .node = scene->link };
	struct proto_readlink_reply reply;

	return raw_readlink(scene->raw, &request, &reply);
}

static int make_link(struct scene *scene)
{
	struct proto_symlink_request request = { .parent = scene->root,
		                                 .name = raw_name("new"),
		                                 .target = { 6, "target" } };
	struct proto_symlink_reply reply;
	int r = raw_symlink(scene->raw, &request, &reply);

	if (r == 0)
		scene->got_node = reply.entry.node;
	return r;
}

static int make_directory(struct scene *scene)
{
	struct proto_mkdir_request request = {
		.parent = scene->root, .name = raw_name("new"), .mode = 01777, .owner = { 5, 6 }
	};
	struct proto_mkdir_reply reply;
	int r = raw_mkdir(scene->raw, &request, &reply);

	if (r == 0)
		scene->got_node = reply.entry.node;
	return r;
}

static int make_device(struct scene *scene)
{
	struct proto_mknod_request request = {
		.parent = scene->root, .name = raw_name("new"), .mode = S_IFCHR | 0620, .rdev = 0x105, .owner = { 5, 6 }
	};
	struct proto_mknod_reply reply;
	int r = raw_mknod(scene->raw, &request, &reply);

	if (r == 0)
		scene->got_node = reply.entry.node;
	return r;
}

static int create(struct scene *scene, const char *name, uint32_t flags)
{
	struct proto_create_request request = { .parent = scene->root,
		                                .name = raw_name(name),
		                                .flags = PROTO_OPEN_READ | PROTO_OPEN_WRITE | flags,
		                                .mode = 04755,
		                                .owner = { 5, 6 } };
	struct proto_create_reply reply;
	int r = raw_create(scene->raw, &request, &reply);

	if (r == 0) {
		scene->got_node = reply.entry.node;
		scene->got_handle = reply.handle;
	}
	return r;
}

static int create_new(struct scene *scene)
{
	return create(scene, "new", PROTO_OPEN_EXCLUSIVE);
}

static int create_what_is_there(struct scene *scene)
{
	return create(scene, "other", 0);
}

static int create_unnamed(struct scene *scene)
{
	struct proto_tmpfile_request request = {
		.parent = scene->root, .flags = PROTO_OPEN_READ | PROTO_OPEN_WRITE, .mode = 0600, .owner = { 5, 6 }
	};
	struct proto_tmpfile_reply reply;
	int r = raw_tmpfile(scene->raw, &request, &reply);

	if (r == 0) {
		scene->got_node = reply.entry.node;
		scene->got_handle = reply.handle;
	}
	return r;
}

static int open_file(struct scene *scene)
{
	return share_open(scene->share, scene->file, PROTO_OPEN_READ, &scene->got_handle);
}

static int remove_file(struct scene *scene)
{
	struct proto_unlink_request request = { .parent = scene->root, .name = raw_name("link") };
	struct proto_unlink_reply reply;

	return raw_unlink(scene->raw, &request, &reply);
}

static int remove_directory(struct scene *scene)
{
	struct proto_rmdir_request request = { .parent = scene->root, .name = raw_name("empty") };
	struct proto_rmdir_reply reply;

	return raw_rmdir(scene->raw, &request, &reply);
}

static int rename_to(struct scene *scene, const char *name, uint32_t flags)
{
	struct proto_rename_request request = { .parent = scene->root,
		                                .name = raw_name("file"),
		                                .new_parent = scene->directory,
		                                .new_name = raw_name(name),
		                                .flags = flags };
	struct proto_rename_reply reply;

	return raw_rename(scene->raw, &request, &reply);
}

static int rename_away(struct scene *scene)
{
	return rename_to(scene, "new", 0);
}

static int rename_with_whiteout(struct scene *scene)
{
	return rename_to(scene, "new", PROTO_RENAME_WHITEOUT);
}

static int rename_over(struct scene *scene)
{
	return rename_to(scene, "inside", 0);
}

static int exchange(struct scene *scene)
{
	return rename_to(scene, "inside", PROTO_RENAME_EXCHANGE);
}

static int link_file(struct scene *scene)
{
	struct proto_link_request request = { .node = scene->file,
		                              .parent = scene->directory,
		                              .name = raw_name("new") };
	struct proto_link_reply reply;
	int r = raw_link(scene->raw, &request, &reply);

	if (r == 0)
		scene->got_node = reply.entry.node;
	return r;
}

static int set(struct scene *scene, const struct proto_setattr *values, uint64_t handle)
{
	struct proto_setattr_request request = { .node = scene->file, .handle = handle, .set = *values };
	struct proto_setattr_reply reply;

	return raw_setattr(scene->raw, &request, &reply);
}

static int set_mode(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = PROTO_SET_MODE, .mode = 0600 }, 0);
}

static int set_owner(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = PROTO_SET_UID | PROTO_SET_GID, .uid = 0, .gid = 9 }, 0);
}

static int set_size(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = PROTO_SET_SIZE, .size = 3 }, 0);
}

static int set_size_by_handle(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = PROTO_SET_SIZE, .size = 3 }, scene->file_handle);
}

static int set_times(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = PROTO_SET_MTIME_NOW | PROTO_SET_ATIME_NOW }, 0);
}

static int set_nothing(struct scene *scene)
{
	return set(scene, &(struct proto_setattr){ .valid = 0 }, 0);
}

static int read_data(struct scene *scene)
{
	char bytes[16];
	ssize_t n = share_read(scene->share, scene->file_handle, 0, bytes, sizeof(bytes));

	assert_true(n < 0 || n == 7);
	return n < 0 ? (int) n : 0;
}

static int write_data(struct scene *scene)
{
	ssize_t n = share_write(scene->share, scene->file_handle, 2, "NEW", 3, PROTO_WRITE_KILL_PRIVILEGES);

	assert_true(n < 0 || n == 3);
	return n < 0 ? (int) n : 0;
}

static int sync_file(struct scene *scene)
{
	return raw_fsync(scene->raw, &(struct proto_fsync_request){ scene->file_handle, 0 },
	                 &(struct proto_fsync_reply){});
}

static int sync_data(struct scene *scene)
{
	return raw_fsync(scene->raw, &(struct proto_fsync_request){ scene->file_handle, 1 },
	                 &(struct proto_fsync_reply){});
}

static int sync_all(struct scene *scene)
{
	return raw_syncfs(scene->raw, &(struct proto_syncfs_request){ scene->root }, &(struct proto_syncfs_reply){});
}

static int allocate(struct scene *scene)
{
	struct proto_fallocate_request request = { .handle = scene->file_handle, .length = 100 };
	struct proto_fallocate_reply reply;

	return raw_fallocate(scene->raw, &request, &reply);
}

static int seek(struct scene *scene)
{
	struct proto_lseek_request request = { .handle = scene->file_handle, .whence = SEEK_HOLE };
	struct proto_lseek_reply reply;

	return raw_lseek(scene->raw, &request, &reply);
}

static int copy(struct scene *scene)
{
	struct proto_copy_range_request request = {
		.handle_in = scene->other_handle, .handle_out = scene->file_handle, .offset_out = 3, .length = 100
	};
	struct proto_copy_range_reply reply;
	int r = raw_copy_range(scene->raw, &request, &reply);

	assert_true(r < 0 || reply.copied == 4);
	return r;
}

static int list(struct scene *scene)
{
	struct proto_opendir_request request = { .node = scene->directory, .size = PROTO_CHUNK };
	struct proto_opendir_reply reply;
	int r = raw_opendir(scene->raw, &request, &reply);

	if (r == 0) {
		scene->got_handle = reply.handle;
		forget_entries(scene, &reply.entries);
	}
	return r;
}

static int list_on(struct scene *scene)
{
	struct proto_readdir_request request = { .handle = scene->directory_handle, .size = PROTO_CHUNK };
	struct proto_readdir_reply reply;
	int r = raw_readdir(scene->raw, &request, &reply);

	if (r == 0)
		forget_entries(scene, &reply.entries);
	return r;
}

static int scan(struct scene *scene)
{
	struct proto_scan_request request = { .node = scene->directory, .most = 1000, .size = PROTO_CHUNK };
	struct proto_scan_reply reply;
	int r = raw_scan(scene->raw, &request, &reply);

	if (r == 0)
		forget_entries(scene, &reply.entries);
	return r;
}

static int figures(struct scene *scene)
{
	struct proto_statfs_reply reply;

	return raw_statfs(scene->raw, &(struct proto_statfs_request){ scene->file }, &reply);
}

static int get_xattr(struct scene *scene)
{
	struct proto_getxattr_request request = { .node = scene->file, .name = raw_name("user.test") };
	struct proto_getxattr_reply reply;

	return raw_getxattr(scene->raw, &request, &reply);
}

static int set_xattr(struct scene *scene)
{
	struct proto_setxattr_request request = { .node = scene->file,
		                                  .name = raw_name("user.test"),
		                                  .value = { 3, "new" } };

	return raw_setxattr(scene->raw, &request, &(struct proto_setxattr_reply){});
}

static int list_xattrs(struct scene *scene)
{
	struct proto_listxattr_reply reply;

	return raw_listxattr(scene->raw, &(struct proto_listxattr_request){ scene->file }, &reply);
}

static int remove_xattr(struct scene *scene)
{
	struct proto_removexattr_request request = { .node = scene->file, .name = raw_name("user.test") };

	return raw_removexattr(scene->raw, &request, &(struct proto_removexattr_reply){});
}

static int may(struct scene *scene)
{
	return raw_access(scene->raw, &(struct proto_access_request){ scene->file, X_OK },
	                  &(struct proto_access_reply){});
}

#define OPERATION(function, flags)                                                                                     \
	{                                                                                                              \
#function, function, flags                                                                             \
	}

const struct scene_operation scene_strip = OPERATION(set_nothing, 0);

const struct scene_operation scene_operations[] = {
	OPERATION(look_up_file, 0),
	OPERATION(look_up_directory, 0),
	OPERATION(get_attributes, 0),
	OPERATION(read_link, 0),
	OPERATION(make_link, 0),
	OPERATION(make_directory, 0),
	OPERATION(make_device, 0),
	OPERATION(create_new, 0),
	OPERATION(create_what_is_there, 0),
	OPERATION(create_unnamed, 0),
	OPERATION(open_file, 0),
	OPERATION(remove_file, 0),
	OPERATION(remove_directory, 0),
	OPERATION(rename_away, 0),
	OPERATION(rename_with_whiteout, 0),
	OPERATION(rename_over, 0),
	OPERATION(exchange, 0),
	OPERATION(link_file, 0),
	OPERATION(set_mode, SCENE_ANSWERS_LAST),
	OPERATION(set_owner, SCENE_ANSWERS_LAST),
	OPERATION(set_size, SCENE_ANSWERS_LAST),
	OPERATION(set_size_by_handle, SCENE_ANSWERS_LAST),
	OPERATION(set_times, SCENE_ANSWERS_LAST),
	OPERATION(set_nothing, SCENE_ANSWERS_LAST),
	OPERATION(read_data, 0),
	OPERATION(write_data, SCENE_ANSWERS_LAST | SCENE_STRIPS_FIRST),
	OPERATION(sync_file, 0),
	OPERATION(sync_data, 0),
	OPERATION(sync_all, 0),
	OPERATION(allocate, SCENE_ANSWERS_LAST | SCENE_STRIPS_FIRST),
	OPERATION(seek, 0),
	OPERATION(copy, SCENE_ANSWERS_LAST | SCENE_STRIPS_FIRST),
	OPERATION(list, 0),
	OPERATION(list_on, 0),
	OPERATION(scan, 0),
	OPERATION(figures, 0),
	OPERATION(get_xattr, 0),
	OPERATION(set_xattr, 0),
	OPERATION(list_xattrs, 0),
	OPERATION(remove_xattr, 0),
	OPERATION(may, 0),
};
const size_t scene_operations_count = ARRAY_SIZE(scene_operations);
