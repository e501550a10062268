/* SPDX-License-Identifier: Apache-2.0 */
/* What bindsharectl doctor looks at on this machine. Says what is, not what that means. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/utsname.h>

struct facts_kernel {
	char release[sizeof(((struct utsname *) 0)->release)];
	bool openat2;
};

struct facts_host {
	long landlock_abi; /* 0 or less: there is none */
	/* Of /proc/sys; -1: there is no such file. */
	long long user_namespaces_max, userns_clone, apparmor_restricts_userns, inotify_watches_max;
	bool vhost_vsock;
};

struct facts_guest {
	bool root;
	int fuse_error, vsock_error; /* errno of opening the devices, 0: they can be opened */
	unsigned cid;                /* of this machine; VMADDR_CID_ANY: none */
	size_t mounts;               /* of shares */
};

void facts_of_kernel(struct facts_kernel *ret_facts);
void facts_of_host(struct facts_host *ret_facts);
void facts_of_guest(struct facts_guest *ret_facts);

/* The hard limit of open files of a process; 0: it is not known, or there is none. */
unsigned long long facts_files(long long pid);

/* Somebody accepts connections at this unix socket. */
bool facts_is_served(const char *path);
