/* SPDX-License-Identifier: Apache-2.0 */
/* Runs bindshare-mount. */
#include "guest-fuse/agent/mount-program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/words.h"

enum { MOUNT_MS = 60000 };

extern char **environ;

/* Without the program, its number and the level before it. */
static const char *text_of(const char *line, size_t length)
{
	static const char program[] = "bindshare-mount";
	const char *text = line;

	if (strncmp(line, program, sizeof(program) - 1) != 0)
		return line;
	for (unsigned i = 0; i < (line[sizeof(program) - 1] == '[' ? 2 : 1); i++) {
		const char *end = memmem(text, length - (size_t) (text - line), ": ", 2);

		if (end == NULL)
			return line;
		text = end + 2;
	}
	return text;
}

void mount_program_words(const char *output, char *words, size_t size)
{
	size_t have = 0;

	words[0] = '\0';
	for (const char *line = output; *line != '\0';) {
		size_t length = strcspn(line, "\n");
		const char *text = text_of(line, length);

		length -= (size_t) (text - line);
		line = text;
		/* It becomes a part of a sentence. */
		if (have + length + 3 < size)
			have += (size_t) snprintf(words + have, size - have, "%s%.*s", have > 0 ? "; " : "",
			                          (int) length - (length > 0 && line[length - 1] == '.' ? 1 : 0), line);
		line += length;
		line += strspn(line, "\n");
	}
}

/* Reads until the other end is closed, or the time is over. */
static void read_words(int fd, char *words, size_t size, int64_t until)
{
	size_t have = 0;

	for (;;) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int64_t left = until - clock_ms();
		char over[512];
		ssize_t n;

		if (left <= 0 || poll(&poller, 1, (int) left) <= 0)
			break;
		n = have + 1 < size ? read(fd, words + have, size - have - 1) : read(fd, over, sizeof(over));
		if (n <= 0)
			break;
		if (have + 1 < size)
			have += (size_t) n;
	}
	words[have] = '\0';
}

/* The program beside this one, or the one in PATH. */
static void find_program(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (slash != NULL && (size_t) (slash - path) + sizeof("/bindshare-mount") < PATH_MAX) {
		strcpy(slash, "/bindshare-mount");
		if (access(path, X_OK) == 0)
			return;
	}
	strcpy(path, "bindshare-mount");
}

/* Starts it in a session of its own, with a pipe for its words. 0 or a negative errno. */
static int spawn(char *const argv[], int words, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	(void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void) posix_spawn_file_actions_adddup2(&actions, words, STDOUT_FILENO);
	(void) posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
	(void) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	r = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

int mount_program_call(char *const argv[], int timeout_ms, int *ret_status, char *words, size_t size)
{
	int64_t until = clock_ms() + timeout_ms;
	int pipes[2], r;
	pid_t pid;

	*ret_status = -1;
	words[0] = '\0';
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	r = spawn(argv, pipes[1], &pid);
	close_fd(pipes[1]);
	if (r == 0) {
		read_words(pipes[0], words, size, until);
		while (waitpid(pid, ret_status, WNOHANG) == 0 && clock_ms() < until)
			(void) poll(NULL, 0, 5);
		if (*ret_status == -1) {
			(void) kill(pid, SIGKILL);
			(void) waitpid(pid, ret_status, 0);
		}
	}
	close_fd(pipes[0]);
	return r;
}

/*
 * As a service of systemd: what goes on when guestd ends is to be in a unit of its own, or systemd takes it for what a
 * service left that did not end cleanly. Engines end before it when the guest does.
 */
static const char *const scope[] = {
	"systemd-run",   "--quiet",         "--collect",
	"--scope",       "--property",      "Before=docker.service containerd.service podman.service",
	"--description", "bindshare share", "--"
};

static bool is_service(void)
{
	return getenv("INVOCATION_ID") != NULL && access("/run/systemd/system", F_OK) == 0;
}

int mount_program_run(const char *source, const char *directory, const char *options, char *error, size_t error_size)
{
	char program[PATH_MAX], words[1024];
	char *argv[ARRAY_SIZE(scope) + 6] = { NULL }, **own = argv + ARRAY_SIZE(scope);
	int status, r;

	find_program(program);
	for (size_t i = 0; i < ARRAY_SIZE(scope); i++)
		argv[i] = (char *) scope[i];
	own[0] = program;
	own[1] = (char *) source;
	own[2] = (char *) directory;
	own[3] = (char *) "-o";
	own[4] = (char *) options;
	r = mount_program_call(is_service() ? argv : own, MOUNT_MS, &status, words, sizeof(words));
	/* Nothing of it was run then. */
	if (is_service() && (r < 0 || strncmp(words, "Failed to ", 10) == 0))
		r = mount_program_call(own, MOUNT_MS, &status, words, sizeof(words));
	if (r < 0)
		return words_refuse(r, error, error_size, "cannot start %s: %s", program, strerror(-r));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	mount_program_words(words, error, error_size);
	if (error[0] == '\0')
		(void) snprintf(error, error_size, "bindshare-mount ended with status %d", status);
	return -EIO;
}
