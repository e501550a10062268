/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system for tests that hangs: hangfs MOUNTPOINT RELEASE_FILE
 *
 * Its one directory has a file "calm", and two that have a quota: "quota" refuses to grow beyond 64 KiB, "late" takes
 * everything and tells of the quota at fsync. A look-up of a name that begins with "hang" is not answered until the
 * release file exists or the caller is killed. Runs in the foreground, one thread, until it is unmounted.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALM_INODE = 2, QUOTA_INODE, LATE_INODE, QUOTA = 65536, WAITING_MAX = 1024, POLL_MS = 20 };

static fuse_req_t waiting[WAITING_MAX];
static size_t waiting_count;

static char quota_bytes[QUOTA];
static size_t quota_size, late_size;

static int fill_attr(fuse_ino_t ino, struct stat *ret_attr)
{
	memset(ret_attr, 0, sizeof(*ret_attr));
	ret_attr->st_ino = ino;
	if (ino == FUSE_ROOT_ID) {
		ret_attr->st_mode = S_IFDIR | 0755;
		ret_attr->st_nlink = 2;
	} else if (ino == CALM_INODE) {
		ret_attr->st_mode = S_IFREG | 0644;
		ret_attr->st_nlink = 1;
	} else if (ino == QUOTA_INODE || ino == LATE_INODE) {
		ret_attr->st_mode = S_IFREG | 0666;
		ret_attr->st_nlink = 1;
		ret_attr->st_size = (off_t) (ino == QUOTA_INODE ? quota_size : late_size);
	} else {
		return -ENOENT;
	}
	return 0;
}

/* The caller was killed: he gets his answer at once. */
static void on_interrupt(fuse_req_t req, void *data)
{
	for (size_t i = 0; i < waiting_count; i++) {
		if (waiting[i] == req) {
			waiting[i] = waiting[--waiting_count];
			fuse_reply_err(req, EINTR);
			return;
		}
	}
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = strcmp(name, "quota") == 0  ? QUOTA_INODE
		                                 : strcmp(name, "late") == 0 ? LATE_INODE
		                                                             : CALM_INODE };
	bool known = entry.ino != CALM_INODE || strcmp(name, "calm") == 0;

	if (strncmp(name, "hang", 4) == 0 && waiting_count < WAITING_MAX) {
		waiting[waiting_count++] = req;
		fuse_req_interrupt_func(req, on_interrupt, NULL);
		return;
	}
	if (parent != FUSE_ROOT_ID || !known || fill_attr(entry.ino, &entry.attr) < 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fuse_reply_entry(req, &entry);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct stat attr;
	int r = fill_attr(ino, &attr);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &attr, 0);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                     struct fuse_file_info *file)
{
	size_t end = (size_t) offset + size;

	if (ino == LATE_INODE) {
		late_size = end > late_size ? end : late_size;
		fuse_reply_write(req, size);
	} else if (ino != QUOTA_INODE || end > QUOTA) {
		fuse_reply_err(req, EDQUOT);
	} else {
		memcpy(quota_bytes + offset, bytes, size);
		quota_size = end > quota_size ? end : quota_size;
		fuse_reply_write(req, size);
	}
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
	size_t at = (size_t) offset, there = ino == QUOTA_INODE && at < quota_size ? quota_size - at : 0;

	fuse_reply_buf(req, quota_bytes + at, size < there ? size : there);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	fuse_reply_err(req, ino == LATE_INODE ? EDQUOT : 0);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = on_lookup, .getattr = on_getattr, .read = on_read, .write = on_write, .fsync = on_fsync
};

static void release_all(void)
{
	while (waiting_count > 0)
		fuse_reply_err(waiting[--waiting_count], ENOENT);
}

/* Until the mount ends. */
static void serve(struct fuse_session *session, const char *release_file)
{
	struct pollfd ready = { .fd = fuse_session_fd(session), .events = POLLIN };
	struct fuse_buf buffer = { .mem = NULL };

	while (!fuse_session_exited(session)) {
		if (access(release_file, F_OK) == 0)
			release_all();
		if (poll(&ready, 1, POLL_MS) <= 0)
			continue;
		if (fuse_session_receive_buf(session, &buffer) <= 0)
			break;
		fuse_session_process_buf(session, &buffer);
	}
	free(buffer.mem);
}

int main(int argc, char **argv)
{
	char *options[] = { argv[0], "-oallow_other,default_permissions,fsname=hangfs" };
	struct fuse_args args = FUSE_ARGS_INIT(2, options);
	struct fuse_session *session;
	int status = EXIT_FAILURE;

	if (argc != 3) {
		fprintf(stderr, "usage: hangfs MOUNTPOINT RELEASE_FILE\n");
		return EXIT_FAILURE;
	}
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (session != NULL && fuse_session_mount(session, argv[1]) == 0) {
		serve(session, argv[2]);
		fuse_session_unmount(session);
		status = EXIT_SUCCESS;
	}
	if (session != NULL)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return status;
}
