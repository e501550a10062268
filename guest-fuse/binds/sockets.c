/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the host that people bind. */
#include "guest-fuse/binds/sockets.h"

#include <errno.h>
#include <fnmatch.h>
#include <stddef.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"

#define AGENT                                                                                                          \
	" Forwarding of the host's SSH agent is not supported yet: run an agent in the guest and bind its socket, or " \
	"give the container the key that it needs."
#define ENGINE   " The engine's socket is the guest's own: bind /var/run/docker.sock, where the engine listens."
#define DISPLAYS " Displays of the host are not supported yet: reach an X server over the network."
#define OTHERS   " Sockets of the host are not supported yet: reach its server over the network."

static const struct {
	const char *pattern, *words;
} sockets[] = {
	{ "*/docker.sock", ENGINE },
	{ "*/ssh-*/agent.*", AGENT },
	{ "*/ssh-agent*", AGENT },
	{ "*/ssh-auth.sock", AGENT },
	{ "*/keyring/ssh", AGENT },
	{ "*/keyring/.ssh", AGENT },
	{ "*/S.gpg-agent.ssh", AGENT },
	{ "*/.ssh/agent/*", AGENT },
	{ "*/com.apple.launchd.*/Listeners", AGENT },
	{ "*/.X11-unix", DISPLAYS },
	{ "*/.X11-unix/*", DISPLAYS },
	{ "*/wayland-[0-9]*", DISPLAYS },
	{ "*/S.gpg-agent*", OTHERS },
	{ "*/pulse/native", OTHERS },
	{ "*/pipewire-[0-9]*", OTHERS },
	{ "*/.s.PGSQL.*", OTHERS },
	{ "/run/host-services/*", OTHERS },
	{ "/var/run/host-services/*", OTHERS },
	{ "/run/user/*/*", OTHERS },
	{ "/var/run/user/*/*", OTHERS },
	{ "*.sock", OTHERS },
	{ "*.socket", OTHERS },
};

const char *sockets_advice(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		if (fnmatch(sockets[i].pattern, path, 0) == 0)
			return sockets[i].words;
	return NULL;
}

bool sockets_is_missing(const char *path)
{
	struct stat st;

	/* The engine's own may come when the engine does. */
	if (sockets_advice(path) == NULL || fnmatch("*/docker.sock", path, 0) == 0)
		return false;
	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	/* One that an engine has made of it earlier: it has no such name by itself. */
	return S_ISDIR(st.st_mode) && fnmatch("*.sock", path, 0) == 0;
}
