/* SPDX-License-Identifier: Apache-2.0 */
/* Watching by inotify: its events name an object by a number that adding gave (inotify(7)). */
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/leases/hostwatch-kinds.h"
#include "fileserver/worker/leases/hostwatch.h"
#include "protocol/faults.h"

enum {
	NAMES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF,
	CONTENTS = IN_MODIFY | IN_CLOSE_WRITE, /* what is stored into a mapping shows in CLOSE_WRITE alone */
	/* IN_IGNORED comes unasked. */
	MASK = NAMES | CONTENTS | IN_ATTRIB | IN_ONLYDIR,
	/* A file is moved: its ctime changes. A name more or less is IN_ATTRIB. */
	FILE_MASK = CONTENTS | IN_ATTRIB | IN_MOVE_SELF | IN_OPEN,
};

static int begin(void)
{
	int fd = FAULT(WORKER_WATCH_BEGIN, inotify_init1(IN_NONBLOCK | IN_CLOEXEC));

	return fd < 0 ? -errno : fd;
}

static void make_key(int number, struct hostwatch_key *ret_key)
{
	memcpy(ret_key->bytes, &number, sizeof(number));
	ret_key->length = sizeof(number);
}

static int mark_with(int fd, uint32_t mask, int object, struct hostwatch_key *key)
{
	char path[RESOLVE_PATH_SIZE];
	int number = FAULT(WORKER_WATCH_MARK, inotify_add_watch(fd, resolve_path(object, path), mask));

	if (number < 0)
		return -errno;
	make_key(number, key);
	return 0;
}

static int mark(int fd, int directory, struct hostwatch_key *key)
{
	return mark_with(fd, MASK, directory, key);
}

static int mark_file(int fd, int file, struct hostwatch_key *key)
{
	return mark_with(fd, FILE_MASK, file, key);
}

static int unmark(int fd, int object, const struct hostwatch_key *key)
{
	int number, r;

	memcpy(&number, key->bytes, sizeof(number));
	r = FAULT(WORKER_WATCH_MARK, inotify_rm_watch(fd, number));
	/* EINVAL: the kernel has removed it with its object. */
	return r == 0 ? 0 : errno == EINVAL ? -ENOENT : -errno;
}

static unsigned what_of(uint32_t mask)
{
	return ((mask & NAMES) != 0 ? HOSTWATCH_NAME : 0U) | ((mask & IN_ATTRIB) != 0 ? HOSTWATCH_ATTRIBUTES : 0U) |
	       ((mask & CONTENTS) != 0 ? HOSTWATCH_CONTENTS : 0U) | ((mask & IN_IGNORED) != 0 ? HOSTWATCH_GONE : 0U) |
	       ((mask & IN_OPEN) != 0 ? HOSTWATCH_OPENED : 0U);
}

static int parse(const char *buffer, size_t length, struct hostwatch_told *ret_told)
{
	const struct inotify_event *event = (const void *) buffer;

	if (length < sizeof(*event) || event->len > length - sizeof(*event))
		return -EPROTO;
	*ret_told = (struct hostwatch_told){ .name = "" };
	if ((event->mask & IN_Q_OVERFLOW) != 0) {
		ret_told->what = HOSTWATCH_OVERFLOW;
	} else {
		make_key(event->wd, &ret_told->key);
		ret_told->what = what_of(event->mask);
		ret_told->directory = (event->mask & IN_ISDIR) != 0 || event->len == 0;
		/* The kernel fills up with NUL. */
		if (event->len > 0)
			ret_told->name = event->name;
	}
	return (int) (sizeof(*event) + event->len);
}

static int parse_file(const char *buffer, size_t length, struct hostwatch_told *ret_told)
{
	int r = parse(buffer, length, ret_told);

	if (r < 0)
		return r;
	ret_told->directory = false;
	/* It was moved. */
	if ((ret_told->what & HOSTWATCH_NAME) != 0)
		ret_told->what = (ret_told->what & ~(unsigned) HOSTWATCH_NAME) | HOSTWATCH_ATTRIBUTES;
	return r;
}

const struct hostwatch_way hostwatch_inotify = {
	.limit_path = "/proc/sys/fs/inotify/max_user_watches",
	.queue_path = "/proc/sys/fs/inotify/max_queued_events",
	.open = begin,
	.mark = mark,
	.unmark = unmark,
	.parse = parse,
};

const struct hostwatch_way hostwatch_inotify_files = {
	.limit_path = "/proc/sys/fs/inotify/max_user_watches",
	.queue_path = "/proc/sys/fs/inotify/max_queued_events",
	.open = begin,
	.mark = mark_file,
	.unmark = unmark,
	.parse = parse_file,
};
