/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files that decide what is shared: read only if nobody else can have written them, and replaced atomically. */
#pragma once

#include <jansson.h>
#include <stddef.h>

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/*
 * Reads a JSON object. The file must be a regular one that belongs to the caller or to root and that nobody else may
 * write. what: "settings file" for example, for messages. Returns 0 and an object that the caller owns; -EPERM: the
 * file's type, owner or mode is wrong; -EINVAL: not a JSON object; or an error of open(2); each with a message in
 * error.
 */
int document_read(const char *what, const char *path, json_t **ret_root, char *error, size_t error_size);

/*
 * Replaces the file's contents atomically, synced to disk first. The mode is kept; a new file gets 0600. Returns 0, or
 * a negative errno and a message in error.
 */
int document_write(const char *what, const char *path, const json_t *root, char *error, size_t error_size);

/* The same for any text; if path is a symbolic link, its target is replaced. */
int document_write_text(const char *what, const char *path, const char *text, char *error, size_t error_size);

/*
 * The member called name, or by its older name (may be NULL), or else the first that differs from name in case only: a
 * misspelt list must not silently count as none. Returns a borrowed reference, or NULL.
 */
json_t *document_member(const json_t *root, const char *name, const char *older);
/* How many members have this name, in any case. */
unsigned document_spellings(const json_t *root, const char *name);

/* The text of a string, owned by value; NULL when it is no string or contains a NUL. */
const char *document_text(const json_t *value);
