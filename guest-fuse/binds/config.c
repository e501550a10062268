/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's configuration. */
#include "guest-fuse/binds/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/paths.h"
#include "protocol/words.h"

enum { WAIT_DEFAULT_S = 10, WAIT_MOST_S = 600, GUEST_PATHS_MAX = 256 };

#define WHAT "guest configuration"

/*
 * What container engines and the system bind from the guest itself: their own data, the kernel's file systems, sockets
 * (docker.sock among them), the clock's zone. The rest of a guest is not known to whoever writes "docker run -v".
 */
static const char *const default_paths[] = {
	"/var/lib/docker",
	"/var/lib/containerd",
	"/var/lib/containers",
	"/var/lib/kubelet",
	"/var/lib/cni",
	"/run",
	"/var/run",
	"/sys",
	"/proc",
	"/dev",
	"/lib/modules",
	"/usr/lib/modules",
	"/usr/share/zoneinfo",
	"/etc/localtime",
	"/etc/timezone",
	"/etc/resolv.conf",
	"/etc/hosts",
	"/etc/hostname",
	"/usr/libexec/podman",
	"/usr/bin/docker-init",
	"/usr/bin/tini",
	"/usr/share/containers",
	"/etc/containers",
};

struct key {
	const char *name;
	int (*take)(struct guest_config *config, const json_t *value);
	const char *right; /* what a value looks like */
};

static int copy(char **ret_text, const char *text)
{
	free(*ret_text);
	*ret_text = strdup(text);
	return *ret_text == NULL ? -ENOMEM : 0;
}

static int take_path(char **ret_path, const json_t *value)
{
	char normal[PATH_MAX];
	const char *text = document_text(value);

	if (text == NULL || paths_normalise(text, normal) < 0)
		return -EINVAL;
	return copy(ret_path, normal);
}

static int take_address(struct guest_config *config, const json_t *value)
{
	const char *text = document_text(value);
	char error[256];

	if (text == NULL || proto_address_parse(text, &config->address, error, sizeof(error)) < 0)
		return -EINVAL;
	return copy(&config->address_text, text);
}

static int take_token_file(struct guest_config *config, const json_t *value)
{
	return take_path(&config->token_file, value);
}

static int take_root(struct guest_config *config, const json_t *value)
{
	int r = take_path(&config->root, value);

	return r == 0 && strcmp(config->root, "/") == 0 ? -EINVAL : r;
}

static int take_identical(struct guest_config *config, const json_t *value)
{
	config->identical_paths = json_is_true(value);
	return json_is_boolean(value) ? 0 : -EINVAL;
}

static void free_paths(char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free(list[i]);
	free(list);
}

static int take_guest_paths(struct guest_config *config, const json_t *value)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count > GUEST_PATHS_MAX)
		return -EINVAL;
	free_paths(config->guest_paths);
	config->guest_paths = calloc(count + 1, sizeof(*config->guest_paths));
	if (config->guest_paths == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = take_path(&config->guest_paths[i], json_array_get(value, i));

		if (r < 0)
			return r;
	}
	return 0;
}

static int take_runtime(struct guest_config *config, const json_t *value)
{
	return take_path(&config->runtime, value);
}

static int take_wait(struct guest_config *config, const json_t *value)
{
	double seconds = json_number_value(value);

	if (!json_is_number(value) || seconds < 0 || seconds > WAIT_MOST_S)
		return -EINVAL;
	config->wait_ms = (unsigned) (seconds * 1000);
	return 0;
}

static int take_run_directory(struct guest_config *config, const json_t *value)
{
	return take_path(&config->run_directory, value);
}

static int take_plugin_socket(struct guest_config *config, const json_t *value)
{
	if (!json_is_null(value))
		return take_path(&config->plugin_socket, value);
	free(config->plugin_socket);
	config->plugin_socket = NULL;
	return 0;
}

static int take_runtime_name(struct guest_config *config, const json_t *value)
{
	const char *text = document_text(value);

	return text == NULL || text[0] == '\0' ? -EINVAL : copy(&config->runtime_name, text);
}

static int take_mount_options(struct guest_config *config, const json_t *value)
{
	const char *text = document_text(value);

	return text == NULL ? -EINVAL : copy(&config->mount_options, text);
}

static const struct key keys[] = {
	{ "address", take_address, "\"vsock:2:7000\" or \"unix:/path\"" },
	{ "tokenFile", take_token_file, "an absolute path" },
	{ "root", take_root, "an absolute path, not \"/\"" },
	{ "identicalPaths", take_identical, "true or false" },
	{ "guestPaths", take_guest_paths, "a list of absolute paths" },
	{ "runtime", take_runtime, "an absolute path" },
	{ "waitSeconds", take_wait, "a number from 0 to 600" },
	{ "runDirectory", take_run_directory, "an absolute path" },
	{ "pluginSocket", take_plugin_socket, "an absolute path, or null" },
	{ "runtimeName", take_runtime_name, "a string that is not empty" },
	{ "mountOptions", take_mount_options, "a string" },
};

int guest_config_default(struct guest_config *config)
{
	*config = (struct guest_config){ .identical_paths = true, .wait_ms = WAIT_DEFAULT_S * 1000 };
	config->guest_paths = calloc(ARRAY_SIZE(default_paths) + 1, sizeof(*config->guest_paths));
	if (config->guest_paths == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(default_paths); i++)
		if (copy(&config->guest_paths[i], default_paths[i]) < 0)
			return -ENOMEM;
	if (copy(&config->root, "/host_mnt") < 0 || copy(&config->run_directory, "/run/bindshare") < 0 ||
	    copy(&config->plugin_socket, "/run/docker/plugins/bindshare.sock") < 0 ||
	    copy(&config->runtime_name, "bindshare") < 0 || copy(&config->mount_options, "") < 0 ||
	    copy(&config->address_text, "") < 0)
		return -ENOMEM;
	return 0;
}

static int take(struct guest_config *config, const char *path, const char *name, const json_t *value, char *error,
                size_t error_size)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int r;

		if (strcmp(name, keys[i].name) != 0)
			continue;
		r = keys[i].take(config, value);
		if (r == -EINVAL)
			return words_refuse(r, error, error_size, WHAT " %s: \"%s\" must be %s", path, name,
			                    keys[i].right);
		return r;
	}
	return words_refuse(-EINVAL, error, error_size,
	                    WHAT " %s: unknown key \"%s\"; bindshare-guest.json(5) tells which there are", path, name);
}

int guest_config_read(const char *path, struct guest_config *ret_config, char *error, size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	struct guest_config config = { 0 };
	const char *name;
	json_t *value;
	int r = document_read(WHAT, path, &root, error, error_size);

	if (r < 0)
		return r;
	r = guest_config_default(&config);
	json_object_foreach(root, name, value)
	{
		if (r == 0)
			r = take(&config, path, name, value, error, error_size);
	}
	if (r == 0 && config.address_text[0] == '\0')
		r = words_refuse(-EINVAL, error, error_size,
		                 WHAT " %s: there is no \"address\" of the file server, like \"vsock:2:7000\"", path);
	if (r == -ENOMEM)
		(void) words_refuse(r, error, error_size, WHAT " %s: out of memory", path);
	if (r < 0)
		guest_config_done(&config);
	else
		*ret_config = config;
	return r;
}

void guest_config_done(struct guest_config *config)
{
	free(config->address_text);
	free(config->token_file);
	free(config->root);
	free_paths(config->guest_paths);
	free(config->runtime);
	free(config->run_directory);
	free(config->plugin_socket);
	free(config->runtime_name);
	free(config->mount_options);
	*config = (struct guest_config){ 0 };
}

int guest_config_socket(const struct guest_config *config, char path[sizeof(((struct sockaddr_un *) 0)->sun_path)],
                        char *error, size_t error_size)
{
	size_t size = sizeof(((struct sockaddr_un *) 0)->sun_path);

	if (snprintf(path, size, "%s/guestd.sock", config->run_directory) < (int) size)
		return 0;
	return words_refuse(-ENAMETOOLONG, error, error_size, "the run directory's name is too long for a socket: %s",
	                    config->run_directory);
}

int guest_config_runtime(const struct guest_config *config, char path[PATH_MAX])
{
	static const char *const names[] = { "runc", "crun" };
	const char *directories = getenv("PATH"), *directory;

	if (config->runtime != NULL) {
		(void) snprintf(path, PATH_MAX, "%s", config->runtime);
		return access(path, X_OK) < 0 ? -errno : 0;
	}
	if (directories == NULL || directories[0] == '\0')
		directories = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (directory = directories; *directory != '\0'; directory += strspn(directory, ":")) {
			size_t length = strcspn(directory, ":");

			(void) snprintf(path, PATH_MAX, "%.*s/%s", (int) length, directory, names[i]);
			if (access(path, X_OK) == 0)
				return 0;
			directory += length;
		}
	return -ENOENT;
}
