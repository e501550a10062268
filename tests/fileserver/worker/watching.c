/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of hostwatch: a watch, what it has told, and other processes that change things or have other rights. */
#include "tests/fileserver/worker/watching.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fileserver/sandbox/own-files.h"

enum { NOBODY = 65534 };

int watching_begin(struct watching *watching, enum hostwatch_kind kind)
{
	*watching = (struct watching){ .kind = kind };
	return hostwatch_new(kind, &watching->hostwatch);
}

void watching_end(struct watching *watching)
{
	hostwatch_free(watching->hostwatch);
	watching->hostwatch = NULL;
}

static void take(void *context, const struct hostwatch_event *event)
{
	struct watching *watching = context;
	struct seen *seen = (struct seen *) watching_seen(watching, event->watch, event->name);

	watching->events++;
	if ((event->what & HOSTWATCH_OVERFLOW) != 0) {
		watching->overflows++;
		return;
	}
	if (seen == NULL && watching->count == SEEN_MAX)
		return;
	if (seen == NULL) {
		seen = &watching->seen[watching->count++];
		*seen = (struct seen){ .watch = event->watch, .directory = event->directory };
		(void) snprintf(seen->name, sizeof(seen->name), "%s", event->name);
	}
	seen->what |= event->what;
	if (event->own)
		seen->own |= event->what;
	else
		seen->foreign |= event->what;
}

int watching_read(struct watching *watching)
{
	watching->count = watching->overflows = 0;
	watching->events = 0;
	return hostwatch_read(watching->hostwatch, take, watching);
}

const struct seen *watching_seen(const struct watching *watching, uint64_t watch, const char *name)
{
	for (unsigned i = 0; i < watching->count; i++)
		if (watching->seen[i].watch == watch && strcmp(watching->seen[i].name, name) == 0)
			return &watching->seen[i];
	return NULL;
}

int watching_add(struct watching *watching, const char *path, uint64_t watch)
{
	int r, object = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (object < 0)
		return -errno;
	r = hostwatch_add(watching->hostwatch, object, watch);
	(void) close(object);
	return r;
}

void watching_remove(struct watching *watching, const char *path, uint64_t watch)
{
	int object = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	hostwatch_remove(watching->hostwatch, watch, object);
	(void) close(object);
}

int watching_marks(const struct watching *watching)
{
	bool fanotify = watching->kind == HOSTWATCH_FANOTIFY || watching->kind == HOSTWATCH_FANOTIFY_FILES;
	const char *begin = fanotify ? "fanotify ino:" : "inotify wd:";
	char path[64], line[512];
	int marks = 0;
	FILE *file;

	(void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", hostwatch_fd(watching->hostwatch));
	file = fopen(path, "re");
	if (file == NULL)
		return -errno;
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, begin, strlen(begin)) == 0)
			marks++;
	(void) fclose(file);
	return marks;
}

/* In place of fork(): under the thread sanitizer, fork() gives the child a second thread. */
static pid_t new_process(void)
{
	return (pid_t) syscall(SYS_clone, (unsigned long) SIGCHLD, NULL, NULL, NULL, 0UL);
}

static int result_of(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int watching_elsewhere(int (*act)(const void *argument), const void *argument)
{
	pid_t child = new_process();

	if (child == 0)
		_exit(act(argument));
	return child < 0 ? -1 : result_of(child);
}

int watching_unprivileged(bool own_namespace, int (*act)(const void *argument), const void *argument)
{
	pid_t child = new_process();

	if (child != 0)
		return child < 0 ? -1 : result_of(child);
	if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		_exit(101);
	/* The kernel takes it away with the user id, and then the files in /proc are root's. */
	(void) prctl(PR_SET_DUMPABLE, 1);
	if (own_namespace && own_files_enter(true) < 0)
		_exit(101);
	/* own_files_enter() goes on without a namespace where there is none; in one of our own, all ids are mapped
	 * anew. */
	if (own_namespace && getuid() != 1)
		_exit(WATCHING_NO_NAMESPACE);
	_exit(act(argument));
}
