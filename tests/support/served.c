/* SPDX-License-Identifier: Apache-2.0 */
/* A real file server on a temporary share. */
#include "tests/support/served.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/address.h"
#include "protocol/handshake.h"

enum { ORDINARY_USER = 65534, START_MS = 5000 };

static bool make_tree(struct served *served)
{
	strcpy(served->directory, "/tmp/bindshare-served-XXXXXX");
	if (mkdtemp(served->directory) == NULL)
		return false;
	snprintf(served->share, sizeof(served->share), "%s/share", served->directory);
	snprintf(served->canary, sizeof(served->canary), "%s/canary", served->directory);
	snprintf(served->socket, sizeof(served->socket), "%s/socket", served->directory);
	if (mkdir(served->share, 0755) < 0 || mkdir(served->canary, 0755) < 0)
		return false;
	if (geteuid() != 0)
		return true;
	return chown(served->directory, ORDINARY_USER, ORDINARY_USER) == 0 &&
	       chown(served->share, ORDINARY_USER, ORDINARY_USER) == 0 &&
	       chown(served->canary, ORDINARY_USER, ORDINARY_USER) == 0;
}

static void run(const struct served *served, const char *const *extra)
{
	const char *build = getenv("BINDSHARE_BUILD");
	char program[512], listen_on[128];
	const char *arguments[32] = { "bindshare-fileserver", "--listen", listen_on, "--share", served->share };
	int count = 5, fd;

	snprintf(program, sizeof(program), "%s/fileserver/bindshare-fileserver", build == NULL ? "." : build);
	snprintf(listen_on, sizeof(listen_on), "unix:%s", served->socket);
	for (; extra != NULL && *extra != NULL && count < 31; extra++)
		arguments[count++] = *extra;
	unsetenv("XDG_RUNTIME_DIR");
	/* The user may not be able to go the way to it. */
	fd = open(program, O_PATH | O_CLOEXEC);
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(ORDINARY_USER) < 0 || setuid(ORDINARY_USER) < 0))
		_exit(127);
	(void) fexecve(fd, (char *const *) arguments, environ);
	perror(program);
	_exit(127);
}

struct served *served_start(const char *const *extra)
{
	struct served *served = calloc(1, sizeof(*served));
	struct raw raw;

	if (served == NULL || sodium_init() < 0 || !make_tree(served))
		return NULL;
	served->broker = fork();
	if (served->broker == 0)
		run(served, extra);
	for (int waited = 0; waited < START_MS; waited += 10) {
		if (served_connect(served, &raw) == 0) {
			raw_done(&raw);
			return served;
		}
		usleep(10000);
	}
	(void) served_stop(served);
	return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

int served_stop(struct served *served)
{
	int status = 0;

	kill(served->broker, SIGTERM);
	for (int waited = 0; waited < 10000; waited += 10) {
		if (waitpid(served->broker, &status, WNOHANG) == served->broker)
			break;
		usleep(10000);
		if (waited == 9990) {
			kill(served->broker, SIGKILL);
			waitpid(served->broker, &status, 0);
		}
	}
	(void) nftw(served->directory, remove_one, 16, FTW_PHYS | FTW_DEPTH | FTW_MOUNT);
	free(served);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int served_connect(struct served *served, struct raw *ret_raw)
{
	struct proto_address address;
	char text[128], error[256];
	int fd;

	snprintf(text, sizeof(text), "unix:%s", served->socket);
	if (proto_address_parse(text, &address, error, sizeof(error)) < 0)
		return -EINVAL;
	fd = proto_address_connect(&address, 2000);
	return fd < 0 ? fd : raw_init(ret_raw, fd);
}

int served_session(struct served *served, const char *path, struct served_session *ret_session,
                   struct proto_refusal *ret_refusal)
{
	struct proto_hello_request hello = { 0 };
	struct proto_token token = { 0 };
	struct proto_proof_reply welcome;
	struct proto_refusal refusal;
	int r = served_connect(served, &ret_session->event);

	if (r < 0)
		return r;
	snprintf(hello.share.path, sizeof(hello.share.path), "%s", path);
	r = proto_hello(&ret_session->event.channel, &token, &hello, &welcome,
	                ret_refusal == NULL ? &refusal : ret_refusal);
	if (r == 0) {
		ret_session->session = welcome.session;
		ret_session->root = welcome.root.node;
		r = served_lane(served, welcome.session, &ret_session->raw);
	}
	if (r < 0)
		raw_done(&ret_session->event);
	return r;
}

int served_lane(struct served *served, uint64_t session, struct raw *ret_raw)
{
	struct proto_token token = { 0 };
	struct proto_proof_reply welcome;
	struct proto_refusal refusal;
	int r = served_connect(served, ret_raw);

	if (r < 0)
		return r;
	r = proto_attach(&ret_raw->channel, &token, session, &welcome, &refusal);
	if (r < 0)
		raw_done(ret_raw);
	return r;
}

void served_session_done(struct served_session *session)
{
	raw_done(&session->raw);
	raw_done(&session->event);
}

static long count_descriptors(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *directory;
	long count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
	directory = opendir(path);
	if (directory == NULL)
		return 0;
	while ((entry = readdir(directory)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

/* A field of /proc/PID/status, or -1. */
static long status_field(pid_t pid, const char *field)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtol(line + strlen(field), NULL, 10);
	if (file != NULL)
		fclose(file);
	return value;
}

struct served_usage served_usage(const struct served *served)
{
	struct served_usage usage = { 0 };
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t) strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || (pid != served->broker && status_field(pid, "PPid:") != served->broker))
			continue;
		usage.processes++;
		usage.descriptors += count_descriptors(pid);
		usage.memory_kb += status_field(pid, "VmRSS:");
	}
	if (proc != NULL)
		closedir(proc);
	return usage;
}

bool served_quiet(const struct served *served, long descriptors)
{
	for (int waited = 0; waited < 10000; waited += 20) {
		struct served_usage usage = served_usage(served);

		if (usage.processes == 1 && usage.descriptors <= descriptors)
			return true;
		usleep(20000);
	}
	return false;
}
