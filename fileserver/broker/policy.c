/* SPDX-License-Identifier: Apache-2.0 */
/* The administrator's policy. */
#include "fileserver/broker/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fileserver/broker/allowlist.h"
#include "fileserver/broker/canonical.h"
#include "protocol/document.h"
#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { POLICY_DIRECTORIES_MAX = 1024 };

/* What stands for a variable; NULL: there is no such one. */
static const char *value_of(const char *name, size_t length)
{
	const char *value = NULL;

	if (length == 4 && strncmp(name, "HOME", length) == 0)
		value = getenv("HOME");
	else if ((length == 3 && strncmp(name, "TMP", length) == 0) ||
	         (length == 4 && strncmp(name, "TEMP", length) == 0))
		value = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
	return value;
}

/* "$HOME/x" and so on. 0 or -EINVAL. */
static int expand(const char *text, char normal[PATH_MAX])
{
	char path[PATH_MAX];
	const char *value = "";

	if (text[0] == '$') {
		size_t length = strcspn(text + 1, "/");

		value = value_of(text + 1, length);
		text += 1 + length;
	}
	if (value == NULL || snprintf(path, sizeof(path), "%s%s", value, text) >= (int) sizeof(path))
		return -EINVAL;
	return allowlist_normalise(path, normal);
}

static int take_directory(json_t *entry, struct policy_directory *directory)
{
	const char *text = json_string_value(json_object_get(entry, "path"));
	const json_t *by_default = json_object_get(entry, "sharedByDefault");
	char normal[PATH_MAX];

	if (text == NULL || strlen(text) != json_string_length(json_object_get(entry, "path")) ||
	    (by_default != NULL && !json_is_boolean(by_default)) || expand(text, normal) < 0)
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
		return document_refuse(-EINVAL, error, error_size,
		                       "administrator's policy %s: filesharingAllowedDirectories is not a list of at "
		                       "most %d directories",
		                       path, POLICY_DIRECTORIES_MAX);
	policy->directories = calloc(json_array_size(list) + 1, sizeof(*policy->directories));
	if (policy->directories == NULL)
		return document_refuse(-ENOMEM, error, error_size, "administrator's policy %s: out of memory", path);
	json_array_foreach(list, i, entry)
	{
		int r = take_directory(entry, &policy->directories[i]);

		if (r < 0)
			return document_refuse(r, error, error_size,
			                       "administrator's policy %s: entry %zu of filesharingAllowedDirectories "
			                       "is not like {\"path\": \"$HOME/x\", \"sharedByDefault\": true}; "
			                       "$HOME, $TMP and $TEMP are known",
			                       path, i + 1);
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
	list = json_object_get(root, "filesharingAllowedDirectories");
	if (list != NULL)
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
