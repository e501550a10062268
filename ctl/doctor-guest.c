/* SPDX-License-Identifier: Apache-2.0 */
/* What mounting in the guest needs, and what bindshare-guestd says. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctl/doctor.h"
#include "guest-fuse/binds/ask.h"
#include "guest-fuse/binds/config.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

enum { ANSWER_MS = 5000 };

#define DOCKER_CONFIG "/etc/docker/daemon.json"

static void check_fuse(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (fd < 0)
		doctor_found("fuse", "error", "Run: modprobe fuse. In a container, give it /dev/fuse.", "/dev/fuse: %s",
		             strerror(errno));
	else
		doctor_found("fuse", "ok", NULL, "/dev/fuse can be opened");
	(void) uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || /* NOLINT(cert-err34-c) */
	    major < 6 || (major == 6 && minor < 12))
		doctor_found(
		        "idmap", "note", "Use Linux 6.12 or later, or the mount's uid= and gid=.",
		        "Linux %s has no id-mapped mounts of FUSE: a container's user who is not root sees files as "
		        "root's",
		        name.release);
	else
		doctor_found("idmap", "ok", NULL, "Linux %s has id-mapped mounts of FUSE", name.release);
}

static void check_guest_vsock(void)
{
	_cleanup_close_ int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	unsigned cid = VMADDR_CID_ANY;

	if (fd < 0)
		doctor_found("vsock", "note", "Give the machine a vsock device, or mount over a unix socket.",
		             "/dev/vsock: %s", strerror(errno));
	else if (ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0 || cid == VMADDR_CID_ANY)
		doctor_found("vsock", "note",
		             "Give the machine a vsock device; in the guest: modprobe vmw_vsock_virtio_transport.",
		             "vsock has no number for this machine");
	else
		doctor_found("vsock", "ok", NULL, "this machine is CID %u: start the server with --trust-cid %u", cid,
		             cid);
}

/* The OCI runtime behind bindshare-runtime. */
static void check_runtime(const struct guest_config *config)
{
	char path[PATH_MAX];
	int r = guest_config_runtime(config, path);

	if (r == 0)
		doctor_found("runtime", "ok", NULL, "containers are started by %s", path);
	else if (config->runtime != NULL)
		doctor_found("runtime", "error", "Mend \"runtime\" in the configuration.", "%s cannot be run: %s", path,
		             strerror(-r));
	else
		doctor_found("runtime", "warning", "Install one; bindshare-runtime needs it.",
		             "there is neither runc nor crun in PATH");
}

static bool has_string(const json_t *list, const char *wanted)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *text = json_string_value(entry);

		if (text != NULL && strcmp(text, wanted) == 0)
			return true;
	}
	return false;
}

/* Somebody answers dockerd, which asks about each request. */
static bool is_served(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0 ||
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >= (int) sizeof(address.sun_path))
		return false;
	return connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 || errno == EAGAIN;
}

/* What Docker has been told; another engine is not looked at. */
static void check_engine(const struct guest_config *config)
{
	_cleanup_json_ json_t *root = json_load_file(DOCKER_CONFIG, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "default-runtime"));
	const json_t *runtime = json_object_get(json_object_get(root, "runtimes"), name != NULL ? name : "");
	const char *path = json_string_value(json_object_get(runtime, "path"));

	if (root == NULL) {
		doctor_found("docker", "note", "docs/GUEST.md, \"Install\", has the lines; Podman has its own.",
		             DOCKER_CONFIG " cannot be read or is no JSON");
		return;
	}
	if (path == NULL || strstr(path, "bindshare-runtime") == NULL)
		doctor_found("docker", "warning", "docs/GUEST.md, \"Install\", has the lines.",
		             "bindshare-runtime is not the default runtime in " DOCKER_CONFIG);
	else if (config->plugin_socket != NULL &&
	         !has_string(json_object_get(root, "authorization-plugins"), "bindshare"))
		doctor_found("docker", "warning", "docs/GUEST.md, \"Install\", has the lines.",
		             "bindshare is no authorization plugin in " DOCKER_CONFIG
		             ": Docker makes empty directories where a path is not shared");
	else if (config->plugin_socket != NULL && !is_served(config->plugin_socket))
		doctor_found("docker", "error", "Run: systemctl enable --now bindshare-plugin.socket",
		             "nobody listens at %s: Docker waits half a minute with each request, and refuses it",
		             config->plugin_socket);
	else if (name != NULL && strcmp(name, config->runtime_name) != 0)
		doctor_found("docker", "warning", "Give the same name as \"runtimeName\" in the guest's configuration.",
		             "bindshare-runtime is called %s in " DOCKER_CONFIG
		             ", and %s here: containers that ask for it "
		             "by name get no shares",
		             name, config->runtime_name);
	else
		doctor_found("docker", "ok", NULL, DOCKER_CONFIG " names bindshare");
}

static void check_share(const json_t *share)
{
	const char *path = json_string_value(json_object_get(share, "path"));
	const char *state = json_string_value(json_object_get(share, "state"));
	const char *error = json_string_value(json_object_get(share, "error"));

	if (path == NULL || state == NULL)
		return;
	if (strcmp(state, "mounted") == 0)
		doctor_found("share", "ok", NULL, "%s is mounted", path);
	else
		doctor_found("share", "warning",
		             error != NULL ? "It is tried again by itself." : "See bindsharectl doctor on the host.",
		             "%s is %s%s%s", path, state, error != NULL ? ": " : "", error != NULL ? error : "");
}

static void check_guestd(const struct guest_config *config)
{
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)], error[512];
	_cleanup_json_ json_t *answer = NULL;
	const json_t *server, *share;
	const char *state;
	size_t i;

	if (guest_config_socket(config, path, error, sizeof(error)) < 0 ||
	    binds_ask_status(path, ANSWER_MS, &answer, error, sizeof(error)) < 0) {
		doctor_found("guestd", "error", "Run: systemctl enable --now bindshare-guestd", "%s", error);
		return;
	}
	doctor_found("guestd", "ok", NULL, "bindshare-guestd answers at %s", path);
	server = json_object_get(answer, "server");
	state = json_string_value(json_object_get(server, "state"));
	if (state != NULL && strcmp(state, "connected") == 0) {
		doctor_found("server", "ok", NULL, "the file server at %s is there", config->address_text);
	} else {
		const char *words = json_string_value(json_object_get(server, "error"));

		doctor_found("server", "error", "Start the server on the host, or mend \"address\" or \"tokenFile\".",
		             "the file server at %s: %s", config->address_text, words != NULL ? words : "not reached");
	}
	json_array_foreach(json_object_get(answer, "shares"), i, share)
	{
		check_share(share);
	}
}

static void check_configured(const char *path)
{
	struct guest_config config;
	char error[PATH_MAX + 512];
	int r = guest_config_read(path, &config, error, sizeof(error));

	if (r == -ENOENT) {
		doctor_found("config", "note", "Write it to have shares mounted by bindshare-guestd.",
		             "there is no %s: shares are mounted by hand", path);
		return;
	}
	if (r < 0) {
		doctor_found("config", "error", "Mend the file, then restart bindshare-guestd.", "%s", error);
		return;
	}
	doctor_found("config", "ok", NULL, "%s is sound", path);
	check_guestd(&config);
	check_runtime(&config);
	check_engine(&config);
	guest_config_done(&config);
}

/* Containers have clones of a share's mount; the device tells that they are one. */
static size_t count_mounts(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_json_ json_t *devices = json_object();
	char line[8192], device[32];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strstr(line, " - fuse.bindshare ") != NULL && sscanf(line, "%*d %*d %31s", device) == 1)
			(void) json_object_set_new(devices, device, json_true());
	return json_object_size(devices);
}

void doctor_guest(const char *config)
{
	if (geteuid() == 0)
		doctor_found("root", "ok", NULL, "bindshare-mount may mount");
	else
		doctor_found("root", "error", "Run bindshare-mount as root.", "only root may mount");
	check_fuse();
	check_guest_vsock();
	doctor_files(getpid());
	doctor_found("mounts", "ok", NULL, "%zu shares are mounted", count_mounts());
	check_configured(config);
}
