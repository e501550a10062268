/* SPDX-License-Identifier: Apache-2.0 */
/* What a request to the Docker Engine API asks to bind. */
#include "guest-fuse/agent/engine.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "guest-fuse/agent/engine-address.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/words.h"

/* A request while it is read. */
struct reading {
	json_t *sources;
	char *runtime; /* ENGINE_NAME_SIZE */
	char *error;
	size_t error_size;
};

static int unreadable(const struct reading *reading, const char *what)
{
	return words_refuse(-EINVAL, reading->error, reading->error_size,
	                    "bindshare cannot tell what this request binds, and refuses it: %s", what);
}

/* It is understood, and not allowed. */
static int forbidden(const struct reading *reading, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int forbidden(const struct reading *reading, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return words_refuse(-EINVAL, reading->error, reading->error_size, "Mounts denied: %s", text);
}

/* As Go matches keys: in any case. 0 and the value, NULL for none or null; -EINVAL: it could match otherwise there. */
static int get(const struct reading *reading, json_t *object, const char *name, json_t **ret_value)
{
	const char *key;
	json_t *value;

	*ret_value = NULL;
	if (object == NULL)
		return 0;
	if (!json_is_object(object))
		return unreadable(reading, "something in it is no object where one belongs");
	json_object_foreach(object, key, value)
	{
		for (const char *byte = key; *byte != '\0'; byte++)
			if ((unsigned char) *byte >= 0x80)
				return unreadable(reading, "a key has other characters than ASCII");
		if (strcasecmp(key, name) != 0)
			continue;
		if (*ret_value != NULL)
			return unreadable(reading, "it has a key twice, written differently");
		*ret_value = value;
	}
	if (json_is_null(*ret_value))
		*ret_value = NULL;
	return 0;
}

/* 0 and the text, NULL for none. */
static int get_text(const struct reading *reading, json_t *object, const char *name, const char **ret_text)
{
	json_t *value;
	int r = get(reading, object, name, &value);

	*ret_text = NULL;
	if (r < 0 || value == NULL)
		return r;
	*ret_text = document_text(value);
	if (*ret_text == NULL)
		return unreadable(reading, "something in it is no text where one belongs");
	return 0;
}

static int get_list(const struct reading *reading, json_t *object, const char *name, json_t **ret_list)
{
	int r = get(reading, object, name, ret_list);

	if (r == 0 && *ret_list != NULL && !json_is_array(*ret_list))
		return unreadable(reading, "something in it is no list where one belongs");
	return r;
}

enum how { HOW_BIND, HOW_CREATE, HOW_IN_PLACE };

static int add(const struct reading *reading, const char *path, size_t length, enum how how)
{
	json_t *source = json_pack("{s:s%, s:b, s:b}", "path", path, length, "create", how == HOW_CREATE, "inPlace",
	                           how == HOW_IN_PLACE);

	if (source == NULL || json_array_append_new(reading->sources, source) < 0)
		return unreadable(reading, "a path in it is no text");
	return 0;
}

/* "source:/destination[:options]"; what has no slash at its beginning is a volume's name. */
static int read_bind(const struct reading *reading, const char *text)
{
	size_t length = strcspn(text, ":");

	if (text[0] != '/' || text[length] != ':' || text[length + 1] != '/')
		return 0;
	return add(reading, text, length, HOW_CREATE);
}

static int read_binds(const struct reading *reading, json_t *list)
{
	json_t *bind;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, bind)
	{
		const char *text = document_text(bind);

		if (r == 0)
			r = text == NULL ? unreadable(reading, "a bind in it is no text") : read_bind(reading, text);
	}
	return r;
}

/* One of the words of a mount's options. */
static bool has_word(const char *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *next = options; next != NULL; next = strchr(next, ',')) {
		next += *next == ',';
		if (strncmp(next, word, length) == 0 && (next[length] == '\0' || next[length] == ','))
			return true;
	}
	return false;
}

/*
 * What a file system of a volume of the driver "local" may be: one that has nothing of the guest in it. All others
 * (overlay, a disk's, the kernel's own) would show what nobody decided about.
 */
static bool is_volume_type(const char *type)
{
	static const char *const types[] = { "", "none", "tmpfs", "nfs", "nfs4", "cifs", "smb3" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/*
 * Options of a volume driver. "local" mounts what it is told: {"type":"none","o":"bind","device":"/x"}; it is the
 * engine that does it, not the runtime. Keys are of a map: their case counts.
 */
static int read_driver_options(const struct reading *reading, const char *driver, json_t *options)
{
	const json_t *device = json_object_get(options, "device"), *words = json_object_get(options, "o");
	const json_t *type = json_object_get(options, "type");
	const char *path = document_text(device), *text = document_text(words), *name = document_text(type);

	if (options != NULL && !json_is_object(options))
		return unreadable(reading, "a volume's options are no object");
	if (driver != NULL && driver[0] != '\0' && strcmp(driver, "local") != 0)
		return 0;
	if ((device != NULL && path == NULL) || (words != NULL && text == NULL) || (type != NULL && name == NULL))
		return unreadable(reading, "a volume's options are no text");
	if (text != NULL && (has_word(text, "bind") || has_word(text, "rbind")))
		return path == NULL ? 0 : add(reading, path, strlen(path), HOW_IN_PLACE);
	if (name != NULL && !is_volume_type(name))
		return forbidden(
		        reading,
		        "A volume of the type %.64s is not known to bindshare. Volumes of the driver \"local\" may be "
		        "of the types tmpfs, nfs, nfs4, cifs and smb3, or a bind of what is shared.",
		        name);
	return 0;
}

static int read_mount(const struct reading *reading, json_t *mount)
{
	json_t *options = NULL, *driver = NULL, *driver_options = NULL, *create = NULL;
	const char *type, *source, *name = NULL;
	int r = get_text(reading, mount, "Type", &type);

	if (r == 0)
		r = get_text(reading, mount, "Source", &source);
	if (r < 0)
		return r;
	if (type != NULL && strcasecmp(type, "bind") == 0) {
		r = get(reading, mount, "BindOptions", &options);
		if (r == 0)
			r = get(reading, options, "CreateMountpoint", &create);
		if (r < 0 || source == NULL)
			return r < 0 ? r : unreadable(reading, "a bind has no source");
		return add(reading, source, strlen(source), json_is_true(create) ? HOW_CREATE : HOW_BIND);
	}
	r = get(reading, mount, "VolumeOptions", &options);
	if (r == 0)
		r = get(reading, options, "DriverConfig", &driver);
	if (r == 0)
		r = get_text(reading, driver, "Name", &name);
	if (r == 0)
		r = get(reading, driver, "Options", &driver_options);
	return r < 0 ? r : read_driver_options(reading, name, driver_options);
}

static int read_mounts(const struct reading *reading, json_t *list)
{
	json_t *mount;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, mount)
	{
		if (r == 0)
			r = read_mount(reading, mount);
	}
	return r;
}

static int read_host_config(const struct reading *reading, json_t *config)
{
	json_t *binds = NULL, *mounts = NULL;
	const char *runtime = NULL;
	int r = get_list(reading, config, "Binds", &binds);

	if (r == 0)
		r = get_list(reading, config, "Mounts", &mounts);
	if (r == 0)
		r = get_text(reading, config, "Runtime", &runtime);
	if (r == 0 && runtime != NULL && runtime[0] != '\0' &&
	    snprintf(reading->runtime, ENGINE_NAME_SIZE, "%s", runtime) >= ENGINE_NAME_SIZE)
		r = unreadable(reading, "its runtime's name is too long");
	if (r == 0)
		r = read_binds(reading, binds);
	return r < 0 ? r : read_mounts(reading, mounts);
}

/* dockerd takes a HostConfig's members at the top, too, as old clients sent them. */
static int read_create(const struct reading *reading, json_t *body)
{
	json_t *config;
	int r = get(reading, body, "HostConfig", &config);

	if (r == 0)
		r = read_host_config(reading, body);
	return r < 0 ? r : read_host_config(reading, config);
}

static int read_volume(const struct reading *reading, json_t *body)
{
	const char *driver = NULL;
	json_t *options;
	int r = get(reading, body, "DriverOpts", &options);

	if (r == 0)
		r = get_text(reading, body, "Driver", &driver);
	return r < 0 ? r : read_driver_options(reading, driver, options);
}

/* The privileges that an engine plugin is given: [{"Name":"mount","Value":["/x"]}]. */
static int read_privileges(const struct reading *reading, json_t *body)
{
	json_t *privilege;
	size_t i;
	int r = 0;

	/* A plugin that wants none. */
	if (json_is_null(body))
		return 0;
	if (!json_is_array(body))
		return unreadable(reading, "privileges are no list");
	json_array_foreach(body, i, privilege)
	{
		const char *name;
		json_t *values;

		r = get_text(reading, privilege, "Name", &name);
		if (r == 0)
			r = get_list(reading, privilege, "Value", &values);
		for (size_t k = 0;
		     r == 0 && name != NULL && strcasecmp(name, "mount") == 0 && k < json_array_size(values); k++) {
			const char *path = document_text(json_array_get(values, k));

			r = path == NULL ? unreadable(reading, "a mount of a plugin is no text")
			                 : add(reading, path, strlen(path), HOW_BIND);
		}
		if (r < 0)
			return r;
	}
	return r;
}

/* A service runs a container, or an engine plugin. */
static int read_service(const struct reading *reading, json_t *body)
{
	json_t *task = NULL, *spec = NULL, *mounts = NULL, *plugin = NULL, *privileges = NULL;
	int r = get(reading, body, "TaskTemplate", &task);

	if (r == 0)
		r = get(reading, task, "ContainerSpec", &spec);
	if (r == 0)
		r = get_list(reading, spec, "Mounts", &mounts);
	if (r == 0)
		r = get(reading, task, "PluginSpec", &plugin);
	if (r == 0)
		r = get_list(reading, plugin, "Privileges", &privileges);
	if (r == 0)
		r = read_mounts(reading, mounts);
	return r < 0 || privileges == NULL ? r : read_privileges(reading, privileges);
}

/*
 * "name.source=/x", or "name=/x", which can be a mount's source as well as a variable: only the plugin knows. Such a
 * variable is set by "name.value=/x".
 */
static int read_setting(const struct reading *reading, const char *text)
{
	size_t length = strcspn(text, "=");
	const char *value = text + length + (text[length] == '='), *dot = memrchr(text, '.', length);
	size_t field = dot == NULL || dot == text ? 0 : length - (size_t) (dot + 1 - text);

	if (field == 0 ? value[0] != '/' : field != strlen("source") || strncmp(dot + 1, "source", field) != 0)
		return 0;
	return add(reading, value, strlen(value), HOW_BIND);
}

/* Settings of an engine plugin, a list. */
static int read_settings(const struct reading *reading, json_t *body)
{
	json_t *setting;
	size_t i;
	int r = 0;

	if (!json_is_array(body))
		return unreadable(reading, "settings are no list");
	json_array_foreach(body, i, setting)
	{
		const char *text = document_text(setting);

		if (r == 0)
			r = text == NULL ? unreadable(reading, "a setting is no text") : read_setting(reading, text);
	}
	return r;
}

static int forbid_checkpoint(const struct reading *reading, const char *name)
{
	return forbidden(
	        reading,
	        "The engine writes a checkpoint to its directory, reads and removes it there, as the guest's root, "
	        "and bindshare does not know that directory. Leave out \"%s\": the engine has a place of its own.",
	        name);
}

static int read_checkpoint(const struct reading *reading, json_t *body)
{
	const char *directory;
	int r = get_text(reading, body, "CheckpointDir", &directory);

	if (r < 0 || directory == NULL || directory[0] == '\0')
		return r;
	return forbid_checkpoint(reading, "CheckpointDir");
}

/* Every request that can lead to a bind. "*" stands for a name, which may have slashes: vieux/sshfs. */
static const struct route {
	const char *path;
	int (*read)(const struct reading *reading, json_t *body);
	bool optional; /* it need not have a body, and since API 1.24 dockerd takes none */
} routes[] = {
	{ "containers/create", read_create, false },
	{ "containers/*/start", read_host_config, true },
	{ "volumes/create", read_volume, false },
	{ "services/create", read_service, false },
	{ "services/*/update", read_service, false },
	{ "plugins/pull", read_privileges, false },
	{ "plugins/*/upgrade", read_privileges, false },
	{ "plugins/*/set", read_settings, false },
	{ "containers/*/checkpoints", read_checkpoint, false },
};

static bool matches(const char *path, const char *route)
{
	const char *star = strchr(route, '*');
	size_t length = strlen(path), before, after;

	if (star == NULL)
		return strcmp(path, route) == 0;
	before = (size_t) (star - route);
	after = strlen(star + 1);
	return length > before + after && strncmp(path, route, before) == 0 &&
	       strcmp(path + length - after, star + 1) == 0;
}

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (matches(path, routes[i].path))
			return &routes[i];
	return NULL;
}

/* Parameters in the address that name a directory of the guest, in whatever method. 0 or -EINVAL. */
static int check_parameters(const struct reading *reading, const struct engine_request *request, const char *path)
{
	static const char *const names[] = { "dir", "checkpoint-dir" };
	bool start = matches(path, "containers/*/start");

	/* An address that is not written plainly has no path. */
	if (path[0] != '\0' && !start && !matches(path, "containers/*/checkpoints") &&
	    (strncmp(path, "containers/", 11) != 0 || strstr(path, "/checkpoints/") == NULL))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (engine_address_sets(request->uri, names[i]))
			return forbid_checkpoint(reading, names[i]);
	return start && request->form ? unreadable(reading, "its parameters come as a form") : 0;
}

/* GET, HEAD and DELETE bind nothing: names of images and containers can be in the path, but nothing that says so. */
static bool is_plain(const char *method)
{
	return strcasecmp(method, "GET") == 0 || strcasecmp(method, "HEAD") == 0 || strcasecmp(method, "DELETE") == 0;
}

/* The body of a request that has a route. 0 or -EINVAL. */
static int read_body(const struct reading *reading, const struct engine_request *request, const struct route *route)
{
	_cleanup_json_ json_t *root = NULL;

	if (request->body == NULL || request->length == 0)
		return unreadable(reading, route->optional
		                                   ? "in this version of the API it may have contents, which dockerd "
		                                     "did not pass on; use version 1.24 or later, or say "
		                                     "\"Content-Length: 0\""
		                                   : "it came without its contents; dockerd passes on what has a "
		                                     "length below 1 MiB and the type application/json");
	root = json_loadb(request->body, request->length,
	                  JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	return root == NULL ? unreadable(reading, "it is no proper JSON, or says something twice")
	                    : route->read(reading, root);
}

enum engine_result engine_read(const struct engine_request *request, struct engine_binds *ret_binds, char *error,
                               size_t error_size)
{
	_cleanup_json_ json_t *sources = json_array();
	char runtime[ENGINE_NAME_SIZE] = "", path[PATH_MAX] = "";
	const struct reading reading = { sources, runtime, error, error_size };
	const struct route *route;
	bool old, plain = is_plain(request->method);

	if (engine_address_clean(request->uri, path, &old) < 0) {
		path[0] = '\0';
		if (!plain) {
			(void) unreadable(&reading, "its address is not written plainly");
			return ENGINE_REFUSED;
		}
	}
	if (check_parameters(&reading, request, path) < 0)
		return ENGINE_REFUSED;
	route = plain ? NULL : find_route(path);
	if (route == NULL || (route->optional && request->length == 0 && (request->empty || !old)))
		return ENGINE_HARMLESS;
	if (read_body(&reading, request, route) < 0)
		return ENGINE_REFUSED;
	if (json_array_size(sources) == 0)
		return ENGINE_HARMLESS;
	ret_binds->sources = json_incref(sources);
	strcpy(ret_binds->runtime, runtime);
	return ENGINE_BINDS;
}
