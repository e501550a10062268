/* SPDX-License-Identifier: Apache-2.0 */
/* Where a share may be mounted at its own path. */
#include "guest-fuse/agent/identical.h"

#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

/* The guest's system, by the Filesystem Hierarchy Standard and what distributions add; with all beneath them. */
static const char *const never[] = {
	"/bin",       "/boot",     "/dev",       "/efi",       "/etc",       "/init",      "/lib",
	"/lib32",     "/lib64",    "/libx32",    "/nix",       "/ostree",    "/proc",      "/root",
	"/run",       "/sbin",     "/snap",      "/sys",       "/sysroot",   "/usr",       "/var/backups",
	"/var/cache", "/var/db",   "/var/empty", "/var/games", "/var/lib",   "/var/local", "/var/lock",
	"/var/log",   "/var/mail", "/var/opt",   "/var/run",   "/var/spool", "/var/yp",
};

/* These themselves; what lies in them may be a share. */
static const char *const never_alone[] = { "/", "/tmp", "/var", "/var/tmp" };

/* One is the other, or lies in it. */
static bool meet(const char *path, const char *place)
{
	return paths_is_beneath(path, place) || paths_is_beneath(place, path);
}

bool identical_is_allowed(const struct guest_config *config, const char *path)
{
	if (strstr(path, "/.") != NULL)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(never_alone); i++)
		if (strcmp(path, never_alone[i]) == 0)
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (meet(path, never[i]))
			return false;
	for (size_t i = 0; config->guest_paths[i] != NULL; i++)
		if (meet(path, config->guest_paths[i]))
			return false;
	return !meet(path, config->root) && !meet(path, config->run_directory);
}
