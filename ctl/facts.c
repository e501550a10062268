/* SPDX-License-Identifier: Apache-2.0 */
/* What bindsharectl doctor looks at on this machine. */
#include "ctl/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/number.h"

enum { LANDLOCK_VERSION = 1 /* of the flags of landlock_create_ruleset(2) */ };

void facts_of_kernel(struct facts_kernel *ret_facts)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int fd = (int) syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	struct utsname name = { 0 };

	(void) uname(&name);
	memcpy(ret_facts->release, name.release, sizeof(ret_facts->release));
	ret_facts->openat2 = fd >= 0;
}

/* The number in a file of /proc; -1: there is none. */
static long long number_in(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char text[64];
	uint64_t number;
	const char *end;

	return file == NULL || fgets(text, sizeof(text), file) == NULL ||
	                       number_begin(text, 10, INT64_MAX, &number, &end) < 0
	               ? -1
	               : (long long) number;
}

void facts_of_host(struct facts_host *ret_facts)
{
	*ret_facts = (struct facts_host){
		.landlock_abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION),
		.user_namespaces_max = number_in("/proc/sys/user/max_user_namespaces"),
		.userns_clone = number_in("/proc/sys/kernel/unprivileged_userns_clone"),
		.apparmor_restricts_userns = number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
		.inotify_watches_max = number_in("/proc/sys/fs/inotify/max_user_watches"),
		.vhost_vsock = access("/dev/vhost-vsock", F_OK) == 0,
	};
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

void facts_of_guest(struct facts_guest *ret_facts)
{
	_cleanup_close_ int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int fuse_error = fuse < 0 ? errno : 0;
	_cleanup_close_ int vsock = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	int vsock_error = vsock < 0 ? errno : 0;
	unsigned cid = VMADDR_CID_ANY;

	if (vsock >= 0 && ioctl(vsock, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		cid = VMADDR_CID_ANY;
	*ret_facts = (struct facts_guest){
		.root = geteuid() == 0,
		.fuse_error = fuse_error,
		.vsock_error = vsock_error,
		.cid = cid,
		.mounts = count_mounts(),
	};
}

unsigned long long facts_files(long long pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[256];
	unsigned long long soft, hard = 0;

	(void) snprintf(path, sizeof(path), "/proc/%lld/limits", pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Max open files %llu %llu", &soft, &hard) == 2) /* NOLINT(cert-err34-c) */
			break;
	return hard;
}

bool facts_is_served(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0 ||
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >= (int) sizeof(address.sun_path))
		return false;
	return connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 || errno == EAGAIN;
}
