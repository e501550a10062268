/* SPDX-License-Identifier: Apache-2.0 */
/* The record of mounts. */
#include "guest-fuse/agent/mounts-record.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/words.h"

static const char what[] = "record of mounts";

static int file_path(const char *run_directory, char path[PATH_MAX], char *error, size_t error_size)
{
	if (snprintf(path, PATH_MAX, "%s/state.json", run_directory) < PATH_MAX)
		return 0;
	return words_refuse(-ENAMETOOLONG, error, error_size, "the path of the %s is too long", what);
}

static void share_done(struct mounts_record_share *share)
{
	for (size_t i = 0; i < share->made_count; i++)
		free(share->made[i]);
	free(share->made);
	free(share->path);
	free(share->canonical);
}

void mounts_record_done(struct mounts_record *record)
{
	if (record == NULL)
		return;
	for (size_t i = 0; i < record->count; i++)
		share_done(&record->shares[i]);
	free(record->shares);
	free(record->address);
	free(record->root);
	*record = (struct mounts_record){ 0 };
}

/* An absolute path, or NULL. */
static const char *path_text(const json_t *value)
{
	const char *text = document_text(value);

	return text == NULL || text[0] != '/' ? NULL : text;
}

static int read_made(const json_t *list, struct mounts_record_share *share)
{
	const json_t *value;
	size_t i;

	if (list != NULL && !json_is_array(list))
		return -EINVAL;
	share->made = calloc(json_array_size(list) + 1, sizeof(*share->made));
	if (share->made == NULL)
		return -ENOMEM;
	json_array_foreach(list, i, value)
	{
		const char *text = path_text(value);

		if (text == NULL)
			return -EINVAL;
		share->made[share->made_count] = strdup(text);
		if (share->made[share->made_count++] == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* 0, -EINVAL or -ENOMEM; share_done() is right in every case. */
static int read_share(const json_t *value, struct mounts_record_share *share)
{
	const char *path = path_text(json_object_get(value, "path"));
	const char *canonical = document_text(json_object_get(value, "canonical"));
	const json_t *flags = json_object_get(value, "flags");

	if (path == NULL || canonical == NULL || !json_is_integer(flags) || json_integer_value(flags) < 0 ||
	    json_integer_value(flags) > UINT32_MAX)
		return -EINVAL;
	share->path = strdup(path);
	share->canonical = strdup(canonical);
	share->flags = (uint32_t) json_integer_value(flags);
	if (share->path == NULL || share->canonical == NULL)
		return -ENOMEM;
	return read_made(json_object_get(value, "made"), share);
}

static int read_shares(const json_t *list, struct mounts_record *record)
{
	const json_t *value;
	size_t i;

	record->shares = calloc(json_array_size(list) + 1, sizeof(*record->shares));
	if (record->shares == NULL)
		return -ENOMEM;
	json_array_foreach(list, i, value)
	{
		struct mounts_record_share share = { 0 };
		int r = read_share(value, &share);

		if (r == 0) {
			record->shares[record->count++] = share;
			continue;
		}
		share_done(&share);
		if (r != -EINVAL)
			return r;
		record->left_out++;
	}
	return 0;
}

int mounts_record_read(const char *run_directory, struct mounts_record *ret_record, char *error, size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	struct mounts_record record = { 0 };
	const char *address, *beneath;
	const json_t *shares;
	char path[PATH_MAX];
	int r = file_path(run_directory, path, error, error_size);

	if (r == 0)
		r = document_read(what, path, &root, error, error_size);
	if (r < 0)
		return r;
	shares = json_object_get(root, "shares");
	address = document_text(json_object_get(root, "address"));
	beneath = path_text(json_object_get(root, "root"));
	if (address == NULL || beneath == NULL || !json_is_array(shares))
		return words_refuse(-EINVAL, error, error_size,
		                    "the %s %s has no \"address\", \"root\" and \"shares\" that make sense", what,
		                    path);
	record.address = strdup(address);
	record.root = strdup(beneath);
	r = record.address == NULL || record.root == NULL ? -ENOMEM : read_shares(shares, &record);
	if (r < 0) {
		mounts_record_done(&record);
		return words_refuse(r, error, error_size, "%s %s: %s", what, path, strerror(-r));
	}
	*ret_record = record;
	return 0;
}

/* NULL: something in it is no UTF-8. */
static json_t *share_json(const struct mounts_record_share *share)
{
	json_t *made = json_array();

	for (size_t i = 0; i < share->made_count; i++)
		(void) json_array_append_new(made, json_string(share->made[i]));
	return json_pack("{s:s, s:s, s:I, s:o}", "path", share->path, "canonical", share->canonical, "flags",
	                 (json_int_t) share->flags, "made", made);
}

int mounts_record_write(const char *run_directory, const struct mounts_record *record, char *error, size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	json_t *shares = json_array();
	char path[PATH_MAX];
	int r = file_path(run_directory, path, error, error_size);

	for (size_t i = 0; i < record->count; i++)
		(void) json_array_append_new(shares, share_json(&record->shares[i]));
	root = json_pack("{s:s, s:s, s:o}", "address", record->address, "root", record->root, "shares", shares);
	if (r == 0 && root == NULL)
		r = words_refuse(-EINVAL, error, error_size, "the %s cannot be made: no memory, or no UTF-8", what);
	return r < 0 ? r : document_write(what, path, root, error, error_size);
}
