/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files that decide what is shared: read only when nobody else can have written them, and written whole. */
#pragma once

#include <jansson.h>
#include <stddef.h>

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/*
 * Reads an object. The file must be a regular one that belongs to the caller or to root and that nobody else may write.
 * what: "settings file" or so, for the words. 0 and an object that is the caller's; -EPERM: the file is not such;
 * -EINVAL: it is not a JSON object; or what open says; and words in error.
 */
int document_read(const char *what, const char *path, json_t **ret_root, char *error, size_t error_size);

/*
 * Puts another content in the file's place in one step, its mode kept, and on the disk before that; a new file has mode
 * 0600. 0, or a negative errno and words.
 */
int document_write(const char *what, const char *path, const json_t *root, char *error, size_t error_size);

/* The same with any text, and with a link's target in place of a link. */
int document_write_text(const char *what, const char *path, const char *text, char *error, size_t error_size);

/*
 * The member of this name, or of an older one (NULL: it had none), or else the first whose name differs in case only: a
 * list that is silently none would be a trap. Borrowed; NULL: there is none.
 */
json_t *document_member(const json_t *root, const char *name, const char *older);
/* How many members have this name, in whichever case. */
unsigned document_spellings(const json_t *root, const char *name);

/* A string's text, value's own; NULL: it is no string, or there is a NUL in it. */
const char *document_text(const json_t *value);
