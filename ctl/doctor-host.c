/* SPDX-License-Identifier: Apache-2.0 */
/* What the file server needs, and what it says about itself. */
#include "ctl/doctor-host.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ctl/doctor-limits.h"
#include "ctl/leases.h"
#include "protocol/cleanup.h"

/* What a worker can be confined with. */
static void check_confinement(struct findings *findings, const struct facts_host *facts, const char *tier)
{
	if (facts->landlock_abi > 0)
		findings_add(findings, "landlock", "ok", NULL, "the kernel has Landlock, ABI %ld", facts->landlock_abi);
	else
		findings_add(findings, "landlock", "note", "Boot with lsm=landlock,... to have it.",
		             "the kernel has no Landlock");
	if (facts->apparmor_restricts_userns > 0)
		findings_add(findings, "namespaces", "note",
		             "Give bindshare-fileserver an AppArmor profile with \"userns,\", or set "
		             "kernel.apparmor_restrict_unprivileged_userns to 0.",
		             "AppArmor keeps users from namespaces of their own: files that their owner's mode bits "
		             "close (0444, 0555) stay closed to guests' root");
	else if (facts->user_namespaces_max != 0 && facts->userns_clone != 0)
		findings_add(findings, "namespaces", "ok", NULL, "users may have namespaces of their own");
	else
		findings_add(
		        findings, "namespaces", "note",
		        "Set user.max_user_namespaces to 1000 or so, and kernel.unprivileged_userns_clone to 1 where "
		        "there is one.",
		        "users may not have namespaces of their own: files that their owner's mode bits close "
		        "(0444, 0555) stay closed to guests' root");
	if (tier != NULL)
		findings_add(findings, "sandbox", "ok", NULL, "workers run in the sandbox tier \"%s\"", tier);
}

static void check_watches(struct findings *findings, const struct facts_host *facts, const json_t *status)
{
	long long watches = facts->inotify_watches_max;
	long long unwatched = json_integer_value(json_object_get(status, "unwatched_directories"));

	if (unwatched > 0)
		findings_add(findings, "watches", "warning",
		             "If so many are in use, raise fs.inotify.max_user_watches, then send the server SIGHUP. A "
		             "directory that the user may not list cannot be watched.",
		             "%lld directories cannot be watched (limit %lld): changes of the settings are seen late",
		             unwatched, watches);
	else
		findings_add(findings, "watches", "ok", NULL, "%lld directories are watched, of at most %lld",
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

static void check_vsock(struct findings *findings, const struct facts_host *facts, const json_t *status)
{
	if (facts->vhost_vsock)
		findings_add(findings, "vsock", "ok", NULL, "/dev/vhost-vsock is there");
	else
		findings_add(findings, "vsock", status != NULL && listens_on_vsock(status) ? "warning" : "note",
		             "Run: modprobe vhost_vsock. Not needed where the VMM forwards to a unix socket.",
		             "the host's kernel offers no vsock to guests (/dev/vhost-vsock is not there)");
}

static void check_errors(struct findings *findings, const json_t *status)
{
	static const char *const subjects[] = { "settings", "policy" };

	for (unsigned i = 0; i < ARRAY_SIZE(subjects); i++) {
		char key[32];
		const char *error, *path = json_string_value(json_object_get(status, subjects[i]));

		(void) snprintf(key, sizeof(key), "%s_error", subjects[i]);
		error = json_string_value(json_object_get(status, key));
		if (error != NULL)
			findings_add(findings, subjects[i], "error", "Mend the file; it is read again at once.", "%s",
			             error);
		else
			findings_add(findings, subjects[i], "ok", NULL, "%s", path == NULL ? "none is used" : path);
	}
}

/* What steers the server and lies where guests may write. */
static void check_protected(struct findings *findings, const json_t *status)
{
	const json_t *subject;
	size_t i;

	json_array_foreach(json_object_get(status, "protected"), i, subject)
	{
		const char *share = json_string_value(json_object_get(subject, "share"));

		if (share != NULL)
			findings_add(findings, "protection", "note",
			             "Guests cannot change it, nor what lies beside it. Keep it elsewhere to share all "
			             "of that.",
			             "the server's %s %s lies in the shared directory %s",
			             json_string_value(json_object_get(subject, "what")),
			             json_string_value(json_object_get(subject, "path")), share);
	}
	if (json_integer_value(json_object_get(status, "changes_refused")) > 0)
		findings_add(findings, "protection", "warning",
		             "The server's log says which mounts; do not trust these guests.",
		             "guests have tried to change what the server is steered by");
}

/* A path as a shell takes it. */
static void quote(const char *path, char *text, size_t size)
{
	size_t used = 1;

	if (path[strspn(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@%:,=")] == '\0') {
		(void) snprintf(text, size, "%s", path);
		return;
	}
	text[0] = '\'';
	for (; *path != '\0' && used + 6 < size; path++) {
		if (*path == '\'')
			used += (size_t) snprintf(text + used, size - used, "'\\''");
		else
			text[used++] = *path;
	}
	text[used++] = '\'';
	text[used] = '\0';
}

static void check_share(struct findings *findings, const json_t *share)
{
	const char *state = json_string_value(json_object_get(share, "state"));
	const char *path = json_string_value(json_object_get(share, "path"));
	char quoted[PATH_MAX], advice[PATH_MAX + 128];

	if (state == NULL || path == NULL)
		return;
	quote(path, quoted, sizeof(quoted));
	if (strcmp(state, "missing") == 0)
		(void) snprintf(advice, sizeof(advice),
		                "Make the directory, mount its file system, or run: bindsharectl share rm %s", quoted);
	else if (strcmp(state, "replaced") == 0)
		(void) snprintf(advice, sizeof(advice),
		                "If what lies there now is right, run: bindsharectl share add %s", quoted);
	else if (strcmp(state, "unconfirmed") == 0)
		(void) snprintf(advice, sizeof(advice), "If what lies there is yours, run: bindsharectl share add %s",
		                quoted);
	else if (strcmp(state, "denied") == 0)
		(void) snprintf(advice, sizeof(advice),
		                "Ask the administrator, or take it off the list: bindsharectl share rm %s", quoted);
	else
		advice[0] = '\0';
	findings_add(findings, "share", advice[0] == '\0' ? "ok" : "warning", advice[0] == '\0' ? NULL : advice,
	             "%s is %s", path, state);
}

static void check_shares(struct findings *findings, const json_t *answer)
{
	const json_t *share;
	size_t i;

	if (answer != NULL && json_array_size(json_object_get(answer, "shares")) == 0)
		findings_add(findings, "share", "note", "Run: bindsharectl share add DIR", "no directory is shared");
	json_array_foreach(json_object_get(answer, "shares"), i, share)
	{
		check_share(findings, share);
	}
}

static void check_leases(struct findings *findings, const json_t *status)
{
	const json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(status, "mounts"), i, mount)
	{
		const struct leases_reason *reason = leases_reason(json_object_get(mount, "leases"));

		if (reason != NULL)
			findings_add(findings, "leases", reason->level, reason->advice, "%s has %s",
			             json_string_value(json_object_get(mount, "share")), reason->words);
	}
}

void doctor_host_check(struct findings *findings, const struct facts_host *facts,
                       const struct doctor_host_server *server)
{
	const json_t *status = server->status;
	const char *release = json_string_value(json_object_get(status, "release"));

	if (release == NULL) {
		findings_add(findings, "server", "error",
		             "Start bindshare-fileserver, or say with --control where its socket is.",
		             "no file server answers at %s", server->path);
		check_confinement(findings, facts, NULL);
		check_vsock(findings, facts, NULL);
		return;
	}
	if (strcmp(release, BINDSHARE_VERSION) == 0)
		findings_add(findings, "server", "ok", NULL, "bindshare-fileserver %s answers", release);
	else
		findings_add(findings, "server", "warning", "Restart the server after an upgrade.",
		             "the server is bindshare %s, bindsharectl is " BINDSHARE_VERSION, release);
	check_errors(findings, status);
	check_shares(findings, server->shares);
	check_protected(findings, status);
	check_leases(findings, status);
	doctor_limits_files(findings, server->files);
	check_watches(findings, facts, status);
	check_confinement(findings, facts, json_string_value(json_object_get(status, "sandbox")));
	check_vsock(findings, facts, status);
}
