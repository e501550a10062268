/* SPDX-License-Identifier: Apache-2.0 */
/* A container's config.json. */
#include "guest-fuse/runtime/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/binds/clones.h"
#include "protocol/cleanup.h"
#include "protocol/words.h"

enum { CONFIG_MAX = 16 * 1024 * 1024 };

/* The file need not be root's alone: whoever made the bundle decides what the container is anyway. */
static json_t *load(const char *path, struct numbers *numbers, char *error, size_t error_size, int *ret_error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL, *hidden = NULL;
	json_error_t where;
	ssize_t length;
	struct stat st;
	json_t *config;

	*ret_error = -EINVAL;
	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_error = words_refuse(-errno, error, error_size, "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX) {
		(void) words_refuse(0, error, error_size, "%s is no regular file of at most %d bytes", path,
		                    CONFIG_MAX);
		return NULL;
	}
	text = malloc((size_t) st.st_size + 1);
	length = text == NULL ? -1 : read(fd, text, (size_t) st.st_size);
	hidden = length < 0 ? NULL : numbers_hide(numbers, text, (size_t) length);
	if (hidden == NULL) {
		*ret_error = words_refuse(-ENOMEM, error, error_size, "cannot read %s: %s", path, strerror(ENOMEM));
		return NULL;
	}
	config = json_loads(hidden, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
	if (config == NULL)
		(void) words_refuse(0, error, error_size, "%s, line %d: %s", path, where.line, where.text);
	return config;
}

static bool has_option(const json_t *mount, const char *name)
{
	const json_t *options = json_object_get(mount, "options");

	for (size_t i = 0; i < json_array_size(options); i++) {
		const char *text = json_string_value(json_array_get(options, i));

		if (text != NULL && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

/* As runc decides: a type of "bind", or one of the options. */
static bool is_bind(const json_t *mount)
{
	const char *type = json_string_value(json_object_get(mount, "type"));

	return (type != NULL && strcmp(type, "bind") == 0) || has_option(mount, "bind") || has_option(mount, "rbind");
}

/* 0, -EINVAL, -ENOMEM. */
static int take_bind(struct bundle *bundle, const char *directory, json_t *mount)
{
	struct bundle_bind *bind = &bundle->binds[bundle->count];
	const json_t *source = json_object_get(mount, "source");
	const char *text = json_string_value(source);

	if (text == NULL || text[0] == '\0' || strlen(text) != json_string_length(source))
		return -EINVAL;
	bundle->count++;
	bind->mount = mount;
	bind->recursive = has_option(mount, "rbind");
	bind->mapped = json_array_size(json_object_get(mount, "uidMappings")) > 0 || has_option(mount, "idmap") ||
	               has_option(mount, "ridmap");
	if (text[0] == '/')
		bind->source = strdup(text);
	else if (asprintf(&bind->source, "%s/%s", directory, text) < 0)
		bind->source = NULL;
	return bind->source == NULL ? -ENOMEM : 0;
}

/* An id of the container as the guest's kernel has it. False: no map has it. */
static bool map_id(const struct numbers *numbers, const json_t *mappings, json_int_t id, unsigned *ret_id)
{
	*ret_id = (unsigned) id;
	for (size_t i = 0; i < json_array_size(mappings); i++) {
		const json_t *mapping = json_array_get(mappings, i);
		json_int_t inside = numbers_value(numbers, json_object_get(mapping, "containerID"));
		json_int_t size = numbers_value(numbers, json_object_get(mapping, "size"));

		if (id < inside || id - inside >= size)
			continue;
		*ret_id = (unsigned) (numbers_value(numbers, json_object_get(mapping, "hostID")) + id - inside);
		return true;
	}
	return json_array_size(mappings) == 0;
}

static void take_user(struct bundle *bundle)
{
	const json_t *user = json_object_get(json_object_get(bundle->config, "process"), "user");
	const json_t *maps = json_object_get(bundle->config, "linux");
	const struct numbers *numbers = &bundle->numbers;
	bool uid, gid;

	uid = map_id(numbers, json_object_get(maps, "uidMappings"),
	             numbers_value(numbers, json_object_get(user, "uid")), &bundle->uid);
	gid = map_id(numbers, json_object_get(maps, "gidMappings"),
	             numbers_value(numbers, json_object_get(user, "gid")), &bundle->gid);
	bundle->user_is_known = uid && gid;
}

int bundle_read(const char *directory, struct bundle *ret_bundle, char *error, size_t error_size)
{
	struct bundle bundle = { .config = NULL };
	char path[sizeof(bundle.path)];
	struct numbers numbers;
	json_t *mounts, *mount;
	size_t i;
	int r = 0;

	if (snprintf(path, sizeof(path), "%s/config.json", directory) >= (int) sizeof(path))
		return words_refuse(-ENAMETOOLONG, error, error_size, "the bundle's path is too long");
	bundle.config = load(path, &numbers, error, error_size, &r);
	if (bundle.config == NULL)
		return r < 0 ? r : -EINVAL;
	r = 0;
	bundle.numbers = numbers;
	strcpy(bundle.path, path);
	mounts = json_object_get(bundle.config, "mounts");
	if (!json_is_object(bundle.config) || (mounts != NULL && !json_is_array(mounts) && !json_is_null(mounts)))
		r = -EINVAL;
	bundle.binds = calloc(json_array_size(mounts) + 1, sizeof(*bundle.binds));
	if (bundle.binds == NULL)
		r = -ENOMEM;
	json_array_foreach(mounts, i, mount)
	{
		if (r == 0 && is_bind(mount))
			r = take_bind(&bundle, directory, mount);
	}
	if (r < 0) {
		bundle_done(&bundle);
		return words_refuse(r, error, error_size,
		                    r == -ENOMEM ? "%s: out of memory"
		                                 : "%s is not a container's configuration, or "
		                                   "has a bind without a source",
		                    path);
	}
	take_user(&bundle);
	*ret_bundle = bundle;
	return 0;
}

int bundle_set_source(struct bundle_bind *bind, const char *path)
{
	return json_object_set_new(bind->mount, "source", json_string(path)) < 0 ? -ENOMEM : 0;
}

static int keep_original(const struct bundle *bundle)
{
	char original[sizeof(bundle->path) + sizeof(CLONES_ORIGINAL)];
	size_t length = strlen(bundle->path);

	while (length > 0 && bundle->path[length - 1] != '/')
		length--;
	memcpy(original, bundle->path, length);
	strcpy(original + length, CLONES_ORIGINAL);
	(void) unlink(original);
	return link(bundle->path, original);
}

int bundle_write(const struct bundle *bundle, char *error, size_t error_size)
{
	_cleanup_free_ char *hidden = json_dumps(bundle->config, JSON_COMPACT | JSON_PRESERVE_ORDER);
	_cleanup_free_ char *text = hidden == NULL ? NULL : numbers_show(&bundle->numbers, hidden);
	char temporary[sizeof(bundle->path) + 16];
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r = 0;

	(void) snprintf(temporary, sizeof(temporary), "%s.bindshare", bundle->path);
	(void) unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || stat(bundle->path, &st) < 0 || text == NULL ||
	    write(fd, text, strlen(text)) != (ssize_t) strlen(text) || keep_original(bundle) < 0 ||
	    fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0 ||
	    rename(temporary, bundle->path) < 0)
		r = errno != 0 ? -errno : -EIO;
	if (r == 0)
		return 0;
	(void) unlink(temporary);
	return words_refuse(r, error, error_size, "cannot write %s: %s", bundle->path, strerror(-r));
}

void bundle_done(struct bundle *bundle)
{
	for (size_t i = 0; bundle->binds != NULL && i < bundle->count; i++)
		free(bundle->binds[i].source);
	free(bundle->binds);
	json_decref(bundle->config);
	*bundle = (struct bundle){ .config = NULL };
}
