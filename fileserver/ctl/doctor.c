/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl doctor: looks at what bindshare needs, and says what to do where it is missing. */
#include "fileserver/ctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <linux/vm_sockets.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sysexits.h>

#include "fileserver/ctl/client.h"
#include "fileserver/ctl/tables.h"
#include "protocol/cleanup.h"

enum { LANDLOCK_VERSION = 1 /* of the flags of landlock_create_ruleset(2) */, FILES_WANTED = 4096 };

static json_t *findings;

/* level: "ok", "note", "warning" or "error". advice: NULL, or what to do. */
static void found(const char *check, const char *level, const char *advice, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static void found(const char *check, const char *level, const char *advice, const char *format, ...)
{
	char text[2048];
	va_list arguments;
	json_t *string;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	string = json_string(text);
	(void) json_array_append_new(findings, json_pack("{ss ss so so}", "check", check, "level", level, "text",
	                                                 string != NULL ? string : json_string("text that is no UTF-8"),
	                                                 "advice", advice == NULL ? json_null() : json_string(advice)));
}

/* The number in a file of /proc; -1: there is none. */
static long long number_in(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char text[64];

	return file == NULL || fgets(text, sizeof(text), file) == NULL ? -1 : strtoll(text, NULL, 10);
}

static void check_kernel(void)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int fd = (int) syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	struct utsname name;

	(void) uname(&name);
	if (fd < 0)
		found("kernel", "error", "Use Linux 5.6 or later.", "Linux %s has no openat2", name.release);
	else
		found("kernel", "ok", NULL, "Linux %s has openat2", name.release);
}

/* What a worker can be confined with. */
static void check_confinement(const char *tier)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
	long long namespaces = number_in("/proc/sys/user/max_user_namespaces");

	if (abi > 0)
		found("landlock", "ok", NULL, "the kernel has Landlock, ABI %ld", abi);
	else
		found("landlock", "note", "Boot with lsm=landlock,... to have it.", "the kernel has no Landlock");
	if (namespaces != 0 && number_in("/proc/sys/kernel/unprivileged_userns_clone") != 0)
		found("namespaces", "ok", NULL, "users may have namespaces of their own");
	else
		found("namespaces", "note", "Set user.max_user_namespaces to 1000 or so.",
		      "users may not have namespaces of their own");
	if (tier != NULL)
		found("sandbox", "ok", NULL, "workers run in the sandbox tier \"%s\"", tier);
}

/* Limits of a process, by its /proc/PID/limits. */
static void check_files(long long pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[256];
	unsigned long long soft, hard = 0;

	(void) snprintf(path, sizeof(path), "/proc/%lld/limits", pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Max open files %llu %llu", &soft, &hard) == 2) /* NOLINT(cert-err34-c) */
			break;
	if (hard == 0)
		found("files", "note", NULL, "the limit of open files is not known or has no end");
	else if (hard < FILES_WANTED)
		found("files", "warning", "Raise it: LimitNOFILE= of the service, or \"ulimit -Hn 65536\".",
		      "only %llu files may be open; large trees are slow then", hard);
	else
		found("files", "ok", NULL, "%llu files may be open", hard);
}

static void check_watches(const json_t *status)
{
	long long watches = number_in("/proc/sys/fs/inotify/max_user_watches");
	long long unwatched = json_integer_value(json_object_get(status, "unwatched_directories"));

	if (unwatched > 0)
		found("watches", "warning",
		      "If so many are in use, raise fs.inotify.max_user_watches, then send the server SIGHUP. A "
		      "directory that the user may not list cannot be watched.",
		      "%lld directories cannot be watched (limit %lld): changes of the settings are seen late",
		      unwatched, watches);
	else
		found("watches", "ok", NULL, "%lld directories are watched, of at most %lld",
		      json_integer_value(json_object_get(status, "watched_directories")), watches);
}

static bool listens_on_vsock(const json_t *status)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(status, "listen"), i, entry)
	{
		if (strncmp(json_string_value(entry), "vsock:", 6) == 0)
			return true;
	}
	return false;
}

static void check_host_vsock(const json_t *status)
{
	if (access("/dev/vhost-vsock", F_OK) == 0)
		found("vsock", "ok", NULL, "/dev/vhost-vsock is there");
	else
		found("vsock", status != NULL && listens_on_vsock(status) ? "warning" : "note",
		      "Run: modprobe vhost_vsock. Not needed where the VMM forwards to a unix socket.",
		      "the host's kernel offers no vsock to guests (/dev/vhost-vsock is not there)");
}

static void check_errors(const json_t *status)
{
	static const char *const subjects[] = { "settings", "policy" };

	for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++) {
		char key[32];
		const char *error, *path = json_string_value(json_object_get(status, subjects[i]));

		(void) snprintf(key, sizeof(key), "%s_error", subjects[i]);
		error = json_string_value(json_object_get(status, key));
		if (error != NULL)
			found(subjects[i], "error", "Mend the file; it is read again at once.", "%s", error);
		else
			found(subjects[i], "ok", NULL, "%s", path == NULL ? "none is used" : path);
	}
}

static void check_shares(const char *path)
{
	static const struct {
		const char *state, *advice;
	} advice[] = {
		{ "missing", "Make the directory, mount its file system, or run: bindsharectl share rm DIR" },
		{ "replaced", "If what lies there now is right, run: bindsharectl share add DIR" },
		{ "denied", "Ask the administrator, or take it off the list." },
	};
	const json_t *share;
	size_t i;
	int code;
	json_t *answer = client_ask(path, client_request("shares"), &code);

	json_array_foreach(json_object_get(answer, "shares"), i, share)
	{
		const char *state = json_string_value(json_object_get(share, "state")), *what = NULL;

		for (unsigned k = 0; k < ARRAY_SIZE(advice); k++)
			if (state != NULL && strcmp(state, advice[k].state) == 0)
				what = advice[k].advice;
		found("share", what == NULL ? "ok" : "warning", what, "%s is %s",
		      json_string_value(json_object_get(share, "path")), state);
	}
	json_decref(answer);
}

static void check_server(const char *path)
{
	int code;
	json_t *status = client_ask(path, client_request("status"), &code);
	const char *release = json_string_value(json_object_get(status, "release"));

	if (status == NULL || release == NULL) {
		found("server", "error", "Start bindshare-fileserver, or say with --control where its socket is.",
		      "no file server answers at %s", path);
		check_confinement(NULL);
		check_host_vsock(NULL);
		json_decref(status);
		return;
	}
	if (strcmp(release, BINDSHARE_VERSION) == 0)
		found("server", "ok", NULL, "bindshare-fileserver %s answers", release);
	else
		found("server", "warning", "Restart the server after an upgrade.",
		      "the server is bindshare %s, bindsharectl is " BINDSHARE_VERSION, release);
	check_errors(status);
	check_shares(path);
	check_files(json_integer_value(json_object_get(status, "pid")));
	check_watches(status);
	check_confinement(json_string_value(json_object_get(status, "sandbox")));
	check_host_vsock(status);
	json_decref(status);
}

static void check_fuse(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (fd < 0)
		found("fuse", "error", "Run: modprobe fuse. In a container, give it /dev/fuse.", "/dev/fuse: %s",
		      strerror(errno));
	else
		found("fuse", "ok", NULL, "/dev/fuse can be opened");
	(void) uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || /* NOLINT(cert-err34-c) */
	    major < 6 || (major == 6 && minor < 12))
		found("idmap", "note", "Use Linux 6.12 or later, or the mount's uid= and gid=.",
		      "Linux %s has no id-mapped mounts of FUSE: a container's user who is not root sees files as "
		      "root's",
		      name.release);
	else
		found("idmap", "ok", NULL, "Linux %s has id-mapped mounts of FUSE", name.release);
}

static void check_guest_vsock(void)
{
	_cleanup_close_ int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	unsigned cid = VMADDR_CID_ANY;

	if (fd < 0)
		found("vsock", "note", "Give the machine a vsock device, or mount over a unix socket.",
		      "/dev/vsock: %s", strerror(errno));
	else if (ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0 || cid == VMADDR_CID_ANY)
		found("vsock", "note",
		      "Give the machine a vsock device; in the guest: modprobe vmw_vsock_virtio_transport.",
		      "vsock has no number for this machine");
	else
		found("vsock", "ok", NULL, "this machine is CID %u: start the server with --trust-cid %u", cid, cid);
}

static void check_guest(void)
{
	unsigned mounts = 0;
	char line[8192];
	FILE *file = fopen("/proc/self/mountinfo", "re");

	if (geteuid() == 0)
		found("root", "ok", NULL, "bindshare-mount may mount");
	else
		found("root", "error", "Run bindshare-mount as root.", "only root may mount");
	check_fuse();
	check_guest_vsock();
	check_files(getpid());
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		mounts += strstr(line, " - fuse.bindshare ") != NULL;
	cleanup_fclose(&file);
	found("mounts", "ok", NULL, "%u shares are mounted", mounts);
}

int doctor_run(const char *path, bool as_json)
{
	json_t *answer;
	const json_t *finding;
	size_t i;
	int code = EX_OK;

	findings = json_array();
	check_kernel();
	if (path != NULL)
		check_server(path);
	else
		check_guest();
	json_array_foreach(findings, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "level")), "error") == 0)
			code = DOCTOR_FOUND;
	}
	answer = json_pack("{si ss so}", "version", 1, "side", path != NULL ? "host" : "guest", "findings", findings);
	if (as_json) {
		(void) json_dumpf(answer, stdout, JSON_COMPACT);
		(void) putchar('\n');
	} else {
		tables_doctor(answer);
	}
	json_decref(answer);
	return code == EX_OK && fflush(stdout) != 0 ? EX_IOERR : code;
}
