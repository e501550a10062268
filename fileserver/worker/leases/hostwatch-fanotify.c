/* SPDX-License-Identifier: Apache-2.0 */
/* Watching by fanotify: its events name an object by file system and file handle (fanotify(7)). */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/leases/hostwatch-kinds.h"
#include "fileserver/worker/leases/hostwatch.h"
#include "protocol/faults.h"

/* Since Linux 6.5, include/uapi/linux/fcntl.h: a handle that is only to be compared, which more file systems have. */
enum { HANDLE_TO_COMPARE = 0x200 };

enum {
	NAMES = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_MOVE_SELF,
	CONTENTS = FAN_MODIFY | FAN_CLOSE_WRITE, /* what is stored into a mapping shows in CLOSE_WRITE alone */
	MASK = NAMES | CONTENTS | FAN_ATTRIB | FAN_DELETE_SELF | FAN_EVENT_ON_CHILD | FAN_ONDIR,
	/* A file is moved: its ctime changes. A name more or less is FAN_ATTRIB. */
	FILE_MASK = CONTENTS | FAN_ATTRIB | FAN_MOVE_SELF | FAN_DELETE_SELF | FAN_OPEN,
};

/* Of this process, since glibc asks the kernel each time. Set when watching begins. */
static _Atomic pid_t own_pid;

_Static_assert(sizeof(((struct statfs *) NULL)->f_fsid) == sizeof(((struct fanotify_event_info_fid *) NULL)->fsid),
               "the same id in both");

static int begin_with(unsigned report)
{
	int fd = FAULT(WORKER_WATCH_BEGIN,
	               fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | report, O_RDONLY | O_CLOEXEC));

	atomic_store_explicit(&own_pid, getpid(), memory_order_relaxed);
	return fd < 0 ? -errno : fd;
}

static int begin(void)
{
	return begin_with(FAN_REPORT_DFID_NAME);
}

/*
 * Files have a group of their own. In that of the directories the kernel drops what happens to a file without a
 * directory (FAN_ATTRIB at link(2), FAN_MOVE_SELF), unless FAN_REPORT_FID is added; with that, a file that is made and
 * written is two events in place of one, and the queue holds half as many files.
 */
static int begin_files(void)
{
	return begin_with(FAN_REPORT_FID);
}

/* false: it is too long, or the kernel has not been able to make one. */
static bool make_key(const void *filesystem, const struct file_handle *handle, struct hostwatch_key *ret_key)
{
	unsigned char *to = ret_key->bytes;

	if (handle->handle_bytes == 0 || handle->handle_bytes > MAX_HANDLE_SZ)
		return false;
	memcpy(to, filesystem, 8);
	memcpy(to + 8, &handle->handle_type, 4);
	memcpy(to + 12, handle->f_handle, handle->handle_bytes);
	ret_key->length = 12 + handle->handle_bytes;
	return true;
}

static int find(int object, struct hostwatch_key *ret_key)
{
	union {
		struct file_handle head;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	struct statfs st;
	int mount, r;

	r = FAULT(WORKER_WATCH_FIND,
	          name_to_handle_at(object, "", &handle.head, &mount, AT_EMPTY_PATH | HANDLE_TO_COMPARE));
	if (r < 0 && errno == EINVAL) {
		handle.head.handle_bytes = MAX_HANDLE_SZ;
		r = name_to_handle_at(object, "", &handle.head, &mount, AT_EMPTY_PATH);
	}
	if (r < 0)
		return -errno;
	if (fstatfs(object, &st) < 0)
		return -errno;
	return make_key(&st.f_fsid, &handle.head, ret_key) ? 0 : -EOPNOTSUPP;
}

static int change(int fd, unsigned flags, uint64_t mask, int object)
{
	char path[RESOLVE_PATH_SIZE];
	int r;

	/* The system call takes no O_PATH descriptor. */
	r = FAULT(WORKER_WATCH_MARK, fanotify_mark(fd, flags, mask, AT_FDCWD, resolve_path(object, path)));
	return r < 0 ? -errno : 0;
}

static int mark(int fd, int directory, struct hostwatch_key *key)
{
	return change(fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, MASK, directory);
}

static int unmark(int fd, int directory, const struct hostwatch_key *key)
{
	return change(fd, FAN_MARK_REMOVE | FAN_MARK_ONLYDIR, MASK, directory);
}

static int mark_file(int fd, int file, struct hostwatch_key *key)
{
	return change(fd, FAN_MARK_ADD, FILE_MASK, file);
}

static int unmark_file(int fd, int file, const struct hostwatch_key *key)
{
	return change(fd, FAN_MARK_REMOVE, FILE_MASK, file);
}

static int flush(int fd)
{
	int r = FAULT(WORKER_WATCH_MARK, fanotify_mark(fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL));

	return r < 0 ? -errno : 0;
}

/*
 * The record that names the directory, and in it the name; or the file. false: there is none, and no telling what
 * changed.
 */
static bool read_record(const char *at, size_t length, struct hostwatch_told *told)
{
	/* Sizes are those of the kernel's structures, which have an array of no length at their end. */
	const size_t before_name = sizeof(struct fanotify_event_info_fid) + sizeof(struct file_handle);
	const struct fanotify_event_info_fid *record = (const void *) at;
	const struct file_handle *handle;
	size_t end;

	for (; length >= sizeof(record->hdr); length -= record->hdr.len, at += record->hdr.len) {
		record = (const void *) at;
		if (record->hdr.len < sizeof(record->hdr) || record->hdr.len > length)
			return false;
		if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME ||
		    record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID ||
		    record->hdr.info_type == FAN_EVENT_INFO_TYPE_FID)
			break;
	}
	if (length < sizeof(record->hdr) || record->hdr.len < before_name)
		return false;
	handle = (const void *) record->handle;
	end = before_name + handle->handle_bytes;
	if (end > record->hdr.len || !make_key(&record->fsid, handle, &told->key))
		return false;
	told->name = "";
	if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
		told->name = at + end;
		if (memchr(told->name, '\0', record->hdr.len - end) == NULL)
			return false;
	}
	/* The directory itself. */
	if (strcmp(told->name, ".") == 0)
		told->name = "";
	return true;
}

static unsigned what_of(uint64_t mask)
{
	return ((mask & NAMES) != 0 ? HOSTWATCH_NAME : 0U) | ((mask & FAN_ATTRIB) != 0 ? HOSTWATCH_ATTRIBUTES : 0U) |
	       ((mask & CONTENTS) != 0 ? HOSTWATCH_CONTENTS : 0U) |
	       ((mask & FAN_DELETE_SELF) != 0 ? HOSTWATCH_GONE : 0U) | ((mask & FAN_OPEN) != 0 ? HOSTWATCH_OPENED : 0U);
}

static int parse(const char *buffer, size_t length, struct hostwatch_told *ret_told)
{
	static const struct hostwatch_told lost = { .what = HOSTWATCH_OVERFLOW, .name = "" };
	struct fanotify_event_metadata event;

	if (length < sizeof(event))
		return -EPROTO;
	/* Events are aligned to 4 bytes, which is too little for this structure. */
	memcpy(&event, buffer, sizeof(event));
	if (event.vers != FANOTIFY_METADATA_VERSION || event.event_len > length || event.metadata_len < sizeof(event) ||
	    event.metadata_len > event.event_len)
		return -EPROTO;
	*ret_told = lost;
	/* One that does not say where it happened (the kernel had no memory for that) may have happened anywhere. */
	if ((event.mask & FAN_Q_OVERFLOW) != 0 ||
	    !read_record(buffer + event.metadata_len, event.event_len - event.metadata_len, ret_told)) {
		*ret_told = lost;
		return (int) event.event_len;
	}
	ret_told->what = what_of(event.mask);
	ret_told->directory = (event.mask & FAN_ONDIR) != 0;
	/*
	 * Of other processes an ordinary user is told 0, and events of several processes are not merged. Who closes a
	 * removed object's last descriptor need not have removed it; but who has changed something else of it has.
	 */
	ret_told->own =
	        event.pid == atomic_load_explicit(&own_pid, memory_order_relaxed) && ret_told->what != HOSTWATCH_GONE;
	return (int) event.event_len;
}

static int parse_file(const char *buffer, size_t length, struct hostwatch_told *ret_told)
{
	int r = parse(buffer, length, ret_told);

	/* It was moved. */
	if (r >= 0 && (ret_told->what & HOSTWATCH_NAME) != 0)
		ret_told->what = (ret_told->what & ~(unsigned) HOSTWATCH_NAME) | HOSTWATCH_ATTRIBUTES;
	return r;
}

const struct hostwatch_way hostwatch_fanotify = {
	.limit_path = "/proc/sys/fs/fanotify/max_user_marks",
	.queue_path = "/proc/sys/fs/fanotify/max_queued_events",
	.by_object = true,
	.open = begin,
	.find = find,
	.mark = mark,
	.unmark = unmark,
	.flush = flush,
	.parse = parse,
};

const struct hostwatch_way hostwatch_fanotify_files = {
	.limit_path = "/proc/sys/fs/fanotify/max_user_marks",
	.queue_path = "/proc/sys/fs/fanotify/max_queued_events",
	.by_object = true,
	.open = begin_files,
	.find = find,
	.mark = mark_file,
	.unmark = unmark_file,
	.flush = flush,
	.parse = parse_file,
};
