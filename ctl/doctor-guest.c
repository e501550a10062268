/* SPDX-License-Identifier: Apache-2.0 */
/* What mounting in the guest needs, and what bindshare-guestd says. */
#include "ctl/doctor-guest.h"

#include <errno.h>
#include <limits.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>

#include "ctl/doctor-limits.h"
#include "protocol/cleanup.h"

static void check_fuse(struct findings *findings, const struct facts_guest *facts)
{
	if (facts->fuse_error != 0)
		findings_add(findings, "fuse", "error", "Run: modprobe fuse. In a container, give it /dev/fuse.",
		             "/dev/fuse: %s", strerror(facts->fuse_error));
	else
		findings_add(findings, "fuse", "ok", NULL, "/dev/fuse can be opened");
}

static void check_idmap(struct findings *findings, const char *release)
{
	unsigned major = 0, minor = 0;

	if (sscanf(release, "%u.%u", &major, &minor) != 2 || /* NOLINT(cert-err34-c) */
	    major < 6 || (major == 6 && minor < 12))
		findings_add(
		        findings, "idmap", "note", "Use Linux 6.12 or later, or the mount's uid= and gid=.",
		        "Linux %s has no id-mapped mounts of FUSE: a container's user who is not root sees files as "
		        "root's",
		        release);
	else
		findings_add(findings, "idmap", "ok", NULL, "Linux %s has id-mapped mounts of FUSE", release);
}

static void check_vsock(struct findings *findings, const struct facts_guest *facts)
{
	if (facts->vsock_error != 0)
		findings_add(findings, "vsock", "note", "Give the machine a vsock device, or mount over a unix socket.",
		             "/dev/vsock: %s", strerror(facts->vsock_error));
	else if (facts->cid == VMADDR_CID_ANY)
		findings_add(findings, "vsock", "note",
		             "Give the machine a vsock device; in the guest: modprobe vmw_vsock_virtio_transport.",
		             "vsock has no number for this machine");
	else
		findings_add(findings, "vsock", "ok", NULL,
		             "this machine is CID %u: start the server with --trust-cid %u", facts->cid, facts->cid);
}

/* The OCI runtime behind bindshare-runtime. */
static void check_runtime(struct findings *findings, const struct doctor_guest_configured *configured)
{
	if (configured->runtime_error == 0)
		findings_add(findings, "runtime", "ok", NULL, "containers are started by %s", configured->runtime);
	else if (configured->config->runtime != NULL)
		findings_add(findings, "runtime", "error", "Mend \"runtime\" in the configuration.",
		             "%s cannot be run: %s", configured->runtime, strerror(-configured->runtime_error));
	else
		findings_add(findings, "runtime", "warning", "Install one; bindshare-runtime needs it.",
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

/* What Docker has been told; another engine is not looked at. */
static void check_engine(struct findings *findings, const struct doctor_guest_configured *configured)
{
	const struct guest_config *config = configured->config;
	const json_t *root = configured->docker;
	const char *name = json_string_value(json_object_get(root, "default-runtime"));
	const json_t *runtime = json_object_get(json_object_get(root, "runtimes"), name != NULL ? name : "");
	const char *path = json_string_value(json_object_get(runtime, "path"));

	if (root == NULL) {
		findings_add(findings, "docker", "note",
		             "docs/GUEST.md, \"Install\", has the lines; Podman has its own.",
		             DOCTOR_GUEST_DOCKER " cannot be read or is no JSON");
		return;
	}
	if (path == NULL || strstr(path, "bindshare-runtime") == NULL)
		findings_add(findings, "docker", "warning", "docs/GUEST.md, \"Install\", has the lines.",
		             "bindshare-runtime is not the default runtime in " DOCTOR_GUEST_DOCKER);
	else if (config->plugin_socket != NULL &&
	         !has_string(json_object_get(root, "authorization-plugins"), "bindshare"))
		findings_add(findings, "docker", "warning", "docs/GUEST.md, \"Install\", has the lines.",
		             "bindshare is no authorization plugin in " DOCTOR_GUEST_DOCKER
		             ": Docker makes empty directories where a path is not shared");
	else if (config->plugin_socket != NULL && !configured->plugin_is_served)
		findings_add(findings, "docker", "error", "Run: systemctl enable --now bindshare-plugin.socket",
		             "nobody listens at %s: Docker waits half a minute with each request, and refuses it",
		             config->plugin_socket);
	else if (name != NULL && strcmp(name, config->runtime_name) != 0)
		findings_add(findings, "docker", "warning",
		             "Give the same name as \"runtimeName\" in the guest's configuration.",
		             "bindshare-runtime is called %s in " DOCTOR_GUEST_DOCKER
		             ", and %s here: containers that ask for it "
		             "by name get no shares",
		             name, config->runtime_name);
	else
		findings_add(findings, "docker", "ok", NULL, DOCTOR_GUEST_DOCKER " names bindshare");
}

static void check_share(struct findings *findings, const json_t *share)
{
	const char *path = json_string_value(json_object_get(share, "path"));
	const char *state = json_string_value(json_object_get(share, "state"));
	const char *error = json_string_value(json_object_get(share, "error"));

	if (path == NULL || state == NULL)
		return;
	if (strcmp(state, "mounted") == 0)
		findings_add(findings, "share", "ok", NULL, "%s is mounted", path);
	else
		findings_add(findings, "share", "warning",
		             error != NULL ? "It is tried again by itself." : "See bindsharectl doctor on the host.",
		             "%s is %s%s%s", path, state, error != NULL ? ": " : "", error != NULL ? error : "");
}

static void check_guestd(struct findings *findings, const struct doctor_guest_configured *configured)
{
	const char *address = configured->config->address_text;
	const json_t *server, *share;
	const char *state;
	size_t i;

	if (configured->guestd == NULL) {
		findings_add(findings, "guestd", "error", "Run: systemctl enable --now bindshare-guestd", "%s",
		             configured->guestd_error);
		return;
	}
	findings_add(findings, "guestd", "ok", NULL, "bindshare-guestd answers at %s", configured->socket);
	server = json_object_get(configured->guestd, "server");
	state = json_string_value(json_object_get(server, "state"));
	if (state != NULL && strcmp(state, "connected") == 0) {
		findings_add(findings, "server", "ok", NULL, "the file server at %s is there", address);
	} else {
		const char *words = json_string_value(json_object_get(server, "error"));

		findings_add(findings, "server", "error",
		             "Start the server on the host, or mend \"address\" or \"tokenFile\".",
		             "the file server at %s: %s", address, words != NULL ? words : "not reached");
	}
	json_array_foreach(json_object_get(configured->guestd, "shares"), i, share)
	{
		check_share(findings, share);
	}
}

void doctor_guest_check(struct findings *findings, const struct facts_kernel *kernel, const struct facts_guest *facts,
                        unsigned long long files)
{
	if (facts->root)
		findings_add(findings, "root", "ok", NULL, "bindshare-mount may mount");
	else
		findings_add(findings, "root", "error", "Run bindshare-mount as root.", "only root may mount");
	check_fuse(findings, facts);
	check_idmap(findings, kernel->release);
	check_vsock(findings, facts);
	doctor_limits_files(findings, files);
	findings_add(findings, "mounts", "ok", NULL, "%zu shares are mounted", facts->mounts);
}

void doctor_guest_config(struct findings *findings, const char *path, int error, const char *words)
{
	if (error == -ENOENT)
		findings_add(findings, "config", "note", "Write it to have shares mounted by bindshare-guestd.",
		             "there is no %s: shares are mounted by hand", path);
	else if (error < 0)
		findings_add(findings, "config", "error", "Mend the file, then restart bindshare-guestd.", "%s", words);
	else
		findings_add(findings, "config", "ok", NULL, "%s is sound", path);
}

void doctor_guest_check_configured(struct findings *findings, const struct doctor_guest_configured *configured)
{
	check_guestd(findings, configured);
	check_runtime(findings, configured);
	check_engine(findings, configured);
}
