/* SPDX-License-Identifier: Apache-2.0 */
/* The administrator's policy. */
#include "fileserver/broker/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fileserver/broker/canonical.h"
#include "fileserver/broker/expand.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/paths.h"
#include "protocol/words.h"

enum { POLICY_DIRECTORIES_MAX = 1024 };

static const char list_key[] = "filesharingAllowedDirectories";

static int take_directory(json_t *entry, struct policy_directory *directory)
{
	const char *text = json_string_value(json_object_get(entry, "path"));
	const json_t *by_default = json_object_get(entry, "sharedByDefault");
	char normal[PATH_MAX];

	if (text == NULL || strlen(text) != json_string_length(json_object_get(entry, "path")) ||
	    (by_default != NULL && !json_is_boolean(by_default)) || expand_path(text, normal) < 0)
		return -EINVAL;
	directory->path = strdup(normal);
	directory->shared_by_default = json_is_true(by_default);
	return directory->path == NULL ? -ENOMEM : 0;
}

static int take_list(json_t *list, const char *path, struct policy *policy, char *error, size_t error_size)
{
	json_t *entry;
	size_t i;

	policy->limits = true;
	if (!json_is_array(list) || json_array_size(list) > POLICY_DIRECTORIES_MAX)
		return words_refuse(-EINVAL, error, error_size,
		                    "administrator's policy %s: filesharingAllowedDirectories is not a list of at "
		                    "most %d directories",
		                    path, POLICY_DIRECTORIES_MAX);
	policy->directories = calloc(json_array_size(list) + 1, sizeof(*policy->directories));
	if (policy->directories == NULL)
		return words_refuse(-ENOMEM, error, error_size, "administrator's policy %s: out of memory", path);
	json_array_foreach(list, i, entry)
	{
		int r = take_directory(entry, &policy->directories[i]);

		if (r < 0) {
			_cleanup_free_ char *quoted = json_dumps(entry, JSON_ENCODE_ANY | JSON_COMPACT);

			return words_refuse(
			        r, error, error_size,
			        "administrator's policy %s: entry %zu of %s, %.200s, is not like "
			        "{\"path\": \"$HOME/x\", \"sharedByDefault\": true}; ~, $HOME, $TMP and $TEMP "
			        "are known",
			        path, i + 1, list_key, quoted == NULL ? "?" : quoted);
		}
		policy->count++;
	}
	return 0;
}

int policy_read(const char *path, struct policy *ret_policy, char *error, size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	struct policy policy = { 0 };
	json_t *list;
	int r = document_read("administrator's policy", path, &root, error, error_size);

	if (r < 0)
		return r;
	list = document_member(root, list_key, NULL);
	if (document_spellings(root, list_key) > 1)
		r = words_refuse(-EINVAL, error, error_size,
		                 "administrator's policy %s: %s is there more than once, in other cases", path,
		                 list_key);
	else if (list != NULL)
		r = take_list(list, path, &policy, error, error_size);
	if (r < 0)
		policy_done(&policy);
	else
		*ret_policy = policy;
	return r;
}

void policy_done(struct policy *policy)
{
	for (size_t i = 0; i < policy->count; i++)
		free(policy->directories[i].path);
	free(policy->directories);
	*policy = (struct policy){ 0 };
}

bool policy_allows(const struct policy *policy, const char *path)
{
	char canonical[PATH_MAX], allowed[PATH_MAX];
	bool by_name = false, by_place;
	struct stat st;

	if (!policy->limits)
		return true;
	by_place = canonical_path(path, canonical, &st) < 0;
	for (size_t i = 0; i < policy->count; i++) {
		const char *directory = policy->directories[i].path;
		bool is_there = canonical_path(directory, allowed, &st) == 0;

		/* $HOME may be a link: a path may be written either way. */
		by_name = by_name || paths_is_beneath(path, directory) || (is_there && paths_is_beneath(path, allowed));
		by_place = by_place || (is_there && paths_is_beneath(canonical, allowed));
	}
	return by_name && by_place;
}
