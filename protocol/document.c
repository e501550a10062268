/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files that decide what is shared. */
#include "protocol/document.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/words.h"

enum { DOCUMENT_MAX = 1024 * 1024 };

const char *document_text(const json_t *value)
{
	const char *text = json_string_value(value);

	return text == NULL || strlen(text) != json_string_length(value) ? NULL : text;
}

json_t *document_member(const json_t *root, const char *name, const char *older)
{
	json_t *value = json_object_get(root, name);
	const char *key;

	if (value == NULL && older != NULL)
		value = json_object_get(root, older);
	if (value != NULL)
		return value;
	json_object_foreach((json_t *) root, key, value)
	{
		if (strcasecmp(key, name) == 0)
			return value;
	}
	return NULL;
}

unsigned document_spellings(const json_t *root, const char *name)
{
	const char *key;
	const json_t *value;
	unsigned count = 0;

	json_object_foreach((json_t *) root, key, value)
	{
		count += strcasecmp(key, name) == 0;
	}
	return count;
}

/* Opens the file and checks the open descriptor, so that nobody can swap the file in between. */
static int open_document(const char *what, const char *path, char *error, size_t error_size)
{
	/* The last component must be no symbolic link; O_NONBLOCK, since it may be a FIFO. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int saved;

	if (fd < 0 || fstat(fd, &st) < 0) {
		saved = errno;
		if (saved == ELOOP)
			return words_refuse(-EPERM, error, error_size, "the %s %s is a symbolic link", what, path);
		return words_refuse(-saved, error, error_size, "cannot open the %s %s: %s", what, path,
		                    strerror(saved));
	}
	if (!S_ISREG(st.st_mode))
		return words_refuse(-EPERM, error, error_size, "the %s %s is not a regular file", what, path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return words_refuse(-EPERM, error, error_size,
		                    "the %s %s belongs to user %u; it must belong to root or to user %u", what, path,
		                    (unsigned) st.st_uid, (unsigned) geteuid());
	if ((st.st_mode & 022) != 0)
		return words_refuse(-EPERM, error, error_size,
		                    "others may write the %s %s (mode %04o); run: chmod go-w %s", what, path,
		                    (unsigned) st.st_mode & 07777, path);
	if (st.st_size > DOCUMENT_MAX)
		return words_refuse(-EINVAL, error, error_size, "the %s %s has more than %d bytes", what, path,
		                    DOCUMENT_MAX);
	return TAKE_FD(fd);
}

int document_read(const char *what, const char *path, json_t **ret_root, char *error, size_t error_size)
{
	_cleanup_close_ int fd = open_document(what, path, error, error_size);
	json_error_t where;
	json_t *root;

	if (fd < 0)
		return fd == -EBADF ? -EIO : fd;
	root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL)
		return words_refuse(-EINVAL, error, error_size, "%s %s, line %d, column %d: %s", what, path, where.line,
		                    where.column, where.text);
	if (!json_is_object(root)) {
		json_decref(root);
		return words_refuse(-EINVAL, error, error_size, "%s %s is not a JSON object", what, path);
	}
	*ret_root = root;
	return 0;
}

/* Writes a new file. Returns 0, or a negative errno and leaves the file behind. */
static int write_new(const char *path, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t length = strlen(text);

	if (fd < 0)
		return -errno;
	while (length > 0) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t) n;
		}
	}
	return fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

int document_write_text(const char *what, const char *path, const char *text, char *error, size_t error_size)
{
	char place[PATH_MAX], temporary[PATH_MAX];
	struct stat st;
	int r;

	if (realpath(path, place) == NULL && snprintf(place, sizeof(place), "%s", path) >= (int) sizeof(place))
		return words_refuse(-ENAMETOOLONG, error, error_size, "the path of the %s is too long", what);
	if (snprintf(temporary, sizeof(temporary), "%s.%d.tmp", place, (int) getpid()) >= (int) sizeof(temporary))
		return words_refuse(-ENAMETOOLONG, error, error_size, "the path of the %s is too long", what);
	/* A file that a killed server left behind. */
	(void) unlink(temporary);
	r = write_new(temporary, text, lstat(place, &st) == 0 ? st.st_mode & 0755 : 0600);
	if (r == 0 && rename(temporary, place) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	(void) unlink(temporary);
	return words_refuse(r, error, error_size, "cannot write the %s %s: %s", what, path, strerror(-r));
}

int document_write(const char *what, const char *path, const json_t *root, char *error, size_t error_size)
{
	_cleanup_free_ char *text = json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (text == NULL)
		return words_refuse(-ENOMEM, error, error_size, "%s %s: out of memory", what, path);
	return document_write_text(what, path, text, error, error_size);
}
