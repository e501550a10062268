/* SPDX-License-Identifier: Apache-2.0 */
/* The File Sharing list as it is at the moment. */
#include "fileserver/broker/shares.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileserver/broker/canonical.h"
#include "fileserver/broker/trust.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "protocol/paths.h"
#include "protocol/words.h"

const char *share_state_name(enum share_state state)
{
	static const char *const names[] = { "served", "missing", "replaced", "denied", "unconfirmed" };

	return names[state];
}

const char *share_source_name(enum share_source source)
{
	static const char *const names[] = { "command-line", "control", "settings", "policy" };

	return names[source];
}

static void list_done(struct share_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->shares[i].path);
	free(list->shares);
	*list = (struct share_list){ 0 };
}

static struct share *list_find(const struct share_list *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->shares[i].path, path) == 0)
			return &list->shares[i];
	return NULL;
}

/* Adds a copy. Of one that is there already the more restrictive mode counts. 0 or -ENOMEM. */
static int list_add(struct share_list *list, const struct share *share)
{
	struct share *there = list_find(list, share->path), *shares;

	if (there != NULL) {
		there->read_only = there->read_only || share->read_only;
		return 0;
	}
	shares = reallocarray(list->shares, list->count + 1, sizeof(*shares));
	if (shares == NULL)
		return -ENOMEM;
	list->shares = shares;
	shares[list->count] = *share;
	shares[list->count].path = strdup(share->path);
	if (shares[list->count].path == NULL)
		return -ENOMEM;
	list->count++;
	return 0;
}

static void list_remove(struct share_list *list, struct share *share)
{
	size_t index = (size_t) (share - list->shares);

	free(share->path);
	memmove(share, share + 1, (list->count - index - 1) * sizeof(*share));
	list->count--;
}

int shares_give(struct shares *shares, const char *path, bool read_only, enum share_source source)
{
	char normal[PATH_MAX];
	struct share share = { .path = normal, .read_only = read_only, .source = source };
	struct share *there;
	int r = allowlist_normalise(path, normal);

	if (r < 0)
		return r;
	there = list_find(&shares->given, normal);
	if (there != NULL && source == SHARE_CONTROL) {
		there->read_only = read_only;
		return 0;
	}
	return list_add(&shares->given, &share);
}

static void tell(const struct shares *shares, const char *event, const struct share *share)
{
	events_tell(shares->events, event,
	            json_pack("{so sb ss ss}", "path", events_text(share->path), "read_only", share->read_only, "state",
	                      share_state_name(share->state), "source", share_source_name(share->source)));
}

static void log_state(const struct share *share)
{
	switch (share->state) {
	case SHARE_SERVED:
		log_peer_info("the shared directory %s is there", share->path);
		break;
	case SHARE_MISSING:
		log_peer_warning("the shared directory %s is not there; it is served when it is", share->path);
		break;
	case SHARE_REPLACED:
		log_peer_warning(
		        "another directory lies at %s than the one that was shared; it is not served until that "
		        "one is back, or somebody says: bindsharectl share add %s",
		        share->path, share->path);
		break;
	case SHARE_UNCONFIRMED:
		log_peer_warning(
		        "somebody else than you could have made what lies at the shared directory %s, or a link "
		        "on the way to it; it is not served until somebody says: bindsharectl share add %s",
		        share->path, share->path);
		break;
	case SHARE_DENIED:
		log_warning("the administrator's policy does not allow to share %s; it is left out", share->path);
		break;
	}
}

/* What differs from before is told. */
static void tell_changes(struct shares *shares, const struct share_list *before)
{
	for (size_t i = 0; i < before->count; i++) {
		if (list_find(&shares->list, before->shares[i].path) != NULL)
			continue;
		shares->generation++;
		tell(shares, "share-removed", &before->shares[i]);
	}
	for (size_t i = 0; i < shares->list.count; i++) {
		const struct share *share = &shares->list.shares[i], *old = list_find(before, share->path);

		if (old == NULL)
			shares->generation++;
		if (old == NULL || old->state != share->state || old->read_only != share->read_only)
			tell(shares, old == NULL ? "share-added" : "share-changed", share);
		if (old == NULL ? share->state != SHARE_SERVED : old->state != share->state)
			log_state(share);
	}
}

/* The other shares, for one of them. */
struct others {
	const struct share_list *list;
	const struct share *share;
};

/* True: guests may write there by another share. */
static bool is_shared(void *context, const char *directory)
{
	const struct others *others = context;

	for (size_t i = 0; i < others->list->count; i++) {
		const struct share *other = &others->list->shares[i];
		char canonical[PATH_MAX];
		struct stat st;

		if (other != others->share && !other->read_only && canonical_path(other->path, canonical, &st) == 0 &&
		    paths_is_beneath(directory, canonical))
			return true;
	}
	return false;
}

static void look_at(const struct shares *shares, const struct share_list *list, struct share *share)
{
	struct others others = { .list = list, .share = share };
	struct identity identity;

	if (!policy_allows(&shares->policy, share->path)) {
		share->state = SHARE_DENIED;
		return;
	}
	if (identity_of_directory(share->path, &identity) < 0) {
		share->state = SHARE_MISSING;
		return;
	}
	if (!share->pinned && (shares->confirmed == NULL || strcmp(shares->confirmed, share->path) != 0) &&
	    !trust_path(share->path, is_shared, &others)) {
		share->state = SHARE_UNCONFIRMED;
		return;
	}
	if (!share->pinned) {
		share->pinned = true;
		share->identity = identity;
	}
	share->state = identity_equal(&identity, &share->identity) ? SHARE_SERVED : SHARE_REPLACED;
}

/* Takes a list, looks at it, makes the allowlist of it. On error all stays. 0 or a negative errno. */
static int install(struct shares *shares, struct share_list *list)
{
	struct share_list before = shares->list;
	struct allowlist allowlist = { 0 };
	int r = 0;

	for (size_t i = 0; i < list->count && r == 0; i++) {
		struct share *share = &list->shares[i];

		look_at(shares, list, share);
		if (share->state == SHARE_DENIED)
			continue;
		r = allowlist_add(&allowlist, share->path, share->read_only);
		if (r == 0)
			allowlist.entries[allowlist.count - 1].replaced =
			        share->state == SHARE_REPLACED || share->state == SHARE_UNCONFIRMED;
	}
	if (r < 0) {
		allowlist_done(&allowlist);
		return r;
	}
	allowlist_done(&shares->allowlist);
	shares->allowlist = allowlist;
	shares->list = *list;
	*list = (struct share_list){ 0 };
	tell_changes(shares, &before);
	list_done(&before);
	return 0;
}

/* The settings' part of the list, or the policy's where they have none. */
static int add_configured(const struct shares *shares, struct share_list *list)
{
	const struct settings *settings = &shares->settings;
	const struct policy *policy = &shares->policy;
	int r = 0;

	for (size_t i = 0; i < settings->count && r == 0; i++) {
		char normal[PATH_MAX];
		struct share share = { .path = normal,
			               .read_only = settings->directories[i].read_only,
			               .source = SHARE_SETTINGS,
			               .mount = settings->directories[i].mount };

		r = allowlist_normalise(settings->directories[i].path, normal);
		if (r == 0)
			r = list_add(list, &share);
	}
	for (size_t i = 0; i < policy->count && r == 0 && !settings->has_list && shares->settings_path != NULL; i++) {
		struct share share = { .path = policy->directories[i].path, .source = SHARE_POLICY };

		if (policy->directories[i].shared_by_default)
			r = list_add(list, &share);
	}
	return r;
}

/* The list anew from its parts; each share goes on to mean the directory that it meant. 0 or a negative errno. */
static int compose(struct shares *shares)
{
	struct share_list list = { 0 };
	int r = 0;

	for (size_t i = 0; i < shares->given.count && r == 0; i++)
		r = list_add(&list, &shares->given.shares[i]);
	if (r == 0)
		r = add_configured(shares, &list);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct share *old = list_find(&shares->list, list.shares[i].path);

		list.shares[i].pinned = old != NULL && old->pinned;
		if (list.shares[i].pinned)
			list.shares[i].identity = old->identity;
	}
	if (r == 0)
		r = install(shares, &list);
	list_done(&list);
	return r;
}

/* 0 and, where something was left out, words. */
static int read_settings(struct shares *shares, char *error, size_t error_size)
{
	struct settings settings;
	int r;

	error[0] = '\0';
	if (shares->settings_path == NULL)
		return 0;
	r = settings_read(shares->settings_path, &settings, error, error_size);
	if (r < 0)
		return r;
	settings_done(&shares->settings);
	shares->settings = settings;
	shares->settings_are_optional = false;
	return 0;
}

static int read_policy(struct shares *shares, char *error, size_t error_size)
{
	struct policy policy;
	int r;

	if (shares->policy_path == NULL)
		return 0;
	r = policy_read(shares->policy_path, &policy, error, error_size);
	if (r < 0)
		return r;
	policy_done(&shares->policy);
	shares->policy = policy;
	/* From now on it is missed when it is gone. */
	shares->policy_is_optional = false;
	return 0;
}

/* Keeps and tells an error when it is a new one; "" when all is well. in_part: the rest of the file counts. */
static void take_error(const struct shares *shares, const char *subject, char kept[SHARES_ERROR_SIZE],
                       const char *error, bool in_part)
{
	char event[64];

	if (strcmp(kept, error) == 0)
		return;
	if (error[0] != '\0')
		log_warning("%s%s", error, in_part ? "" : "; what was shared before stays shared");
	else
		log_info("the %s is good again",
		         strcmp(subject, "policy") == 0 ? "administrator's policy" : "settings file");
	(void) snprintf(kept, SHARES_ERROR_SIZE, "%s", error);
	(void) snprintf(event, sizeof(event), "%s-%s", subject, error[0] != '\0' ? "error" : "good");
	events_tell(shares->events, event, json_pack("{so}", "error", error[0] ? events_text(error) : json_null()));
}

int shares_load(struct shares *shares, char *error, size_t error_size)
{
	int r = read_policy(shares, error, error_size);

	if (r < 0 && !(r == -ENOENT && shares->policy_is_optional))
		return r;
	r = read_settings(shares, error, error_size);
	if (r < 0 && !(r == -ENOENT && shares->settings_are_optional))
		return r;
	if (r == 0)
		take_error(shares, "settings", shares->settings_error, error, true);
	r = compose(shares);
	if (r < 0)
		return words_refuse(r, error, error_size, "cannot make the list of shares: %s", strerror(-r));
	for (size_t i = 0; i < shares->list.count; i++) {
		const struct share *share = &shares->list.shares[i];

		if (share->state == SHARE_DENIED && share->source == SHARE_COMMAND_LINE)
			return words_refuse(-EACCES, error, error_size,
			                    "--share %s: the administrator's policy %s does not allow it", share->path,
			                    shares->policy_path);
	}
	return 0;
}

void shares_reload(struct shares *shares)
{
	char error[SHARES_ERROR_SIZE] = "";
	int r = read_policy(shares, error, sizeof(error));

	if (r == -ENOENT && shares->policy_is_optional)
		error[0] = '\0';
	take_error(shares, "policy", shares->policy_error, error, false);
	r = read_settings(shares, error, sizeof(error));
	if (r == -ENOENT && shares->settings_are_optional)
		error[0] = '\0';
	take_error(shares, "settings", shares->settings_error, error, r == 0);
	r = compose(shares);
	if (r < 0)
		log_peer_error("cannot make the list of shares: %s; it stays as it was", strerror(-r));
}

void shares_look(struct shares *shares)
{
	struct share_list copy = { 0 };
	int r = 0;

	for (size_t i = 0; i < shares->list.count && r == 0; i++)
		r = list_add(&copy, &shares->list.shares[i]);
	if (r == 0)
		r = install(shares, &copy);
	if (r < 0)
		log_peer_error("cannot look at the list of shares: %s", strerror(-r));
	list_done(&copy);
}

static int problem(struct shares_problem *problem, int number, const char *code, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static int problem(struct shares_problem *problem, int number, const char *code, const char *format, ...)
{
	va_list arguments;

	problem->code = code;
	va_start(arguments, format);
	(void) vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
	return number;
}

/* Whether a directory may be added; its normal form. */
static int check_addition(const struct shares *shares, const char *path, char normal[PATH_MAX],
                          struct shares_problem *ret_problem)
{
	struct stat st;

	if (allowlist_normalise(path, normal) < 0)
		return problem(ret_problem, -EINVAL, "bad-path", "%.1024s is not an absolute path without \"..\"",
		               path);
	if (stat(normal, &st) < 0)
		return problem(ret_problem, -ENOENT, "not-found", "%.1024s: %s; make the directory first", normal,
		               strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return problem(ret_problem, -ENOTDIR, "not-directory",
		               "%.1024s is not a directory; share the directory it is in", normal);
	if (shares->list.count >= SHARES_MAX && list_find(&shares->list, normal) == NULL)
		return problem(ret_problem, -E2BIG, "too-many", "%d directories are on the list, more are not shared",
		               SHARES_MAX);
	if (!policy_allows(&shares->policy, normal))
		return problem(ret_problem, -EACCES, "policy",
		               "the administrator's policy %.1024s does not allow to share %.1024s; ask the "
		               "administrator",
		               shares->policy_path, normal);
	return 0;
}

/* What the list is that a settings file without one gets. The paths are borrowed. */
static struct settings default_list(const struct shares *shares)
{
	struct settings settings = { .directories = calloc(shares->list.count + 1, sizeof(*settings.directories)) };

	for (size_t i = 0; i < shares->list.count && settings.directories != NULL; i++)
		if (shares->list.shares[i].source == SHARE_POLICY)
			settings.directories[settings.count++].path = shares->list.shares[i].path;
	return settings;
}

int shares_add(struct shares *shares, const char *path, bool read_only, bool persist, bool *ret_persistent,
               struct shares_problem *ret_problem)
{
	char normal[PATH_MAX];
	struct share *there;
	int r = check_addition(shares, path, normal, ret_problem);

	if (r < 0)
		return r;
	*ret_persistent = persist && shares->settings_path != NULL;
	if (*ret_persistent) {
		struct settings defaults = default_list(shares);

		/* The default file of a user who has none. */
		if (shares->settings_are_optional)
			(void) settings_make_directory(shares->settings_path);
		r = settings_add(shares->settings_path, normal, read_only, &defaults, ret_problem->text,
		                 sizeof(ret_problem->text));
		free(defaults.directories);
		if (r < 0) {
			ret_problem->code = "settings";
			return r;
		}
	}
	/* What was given counts beside the settings, and so must not say something else. */
	if (!*ret_persistent || list_find(&shares->given, normal) != NULL)
		r = shares_give(shares, normal, read_only, SHARE_CONTROL);
	there = list_find(&shares->list, normal);
	if (there != NULL)
		there->pinned = false;
	if (r < 0)
		return problem(ret_problem, r, "system", "cannot share %.1024s: %s", normal, strerror(-r));
	shares->confirmed = normal;
	shares_reload(shares);
	shares->confirmed = NULL;
	return 0;
}

static bool is_in_settings(const struct shares *shares, const char *path)
{
	char normal[PATH_MAX];

	for (size_t i = 0; i < shares->settings.count; i++)
		if (allowlist_normalise(shares->settings.directories[i].path, normal) == 0 && strcmp(normal, path) == 0)
			return true;
	return false;
}

/* Takes a directory off the settings' list, where its default list is the policy's if it has none. */
static int remove_from_settings(const struct shares *shares, const char *path, struct shares_problem *ret_problem)
{
	struct settings defaults = default_list(shares);
	int r = settings_remove(shares->settings_path, path, &defaults, ret_problem->text, sizeof(ret_problem->text));

	free(defaults.directories);
	ret_problem->code = "settings";
	return r;
}

int shares_remove(struct shares *shares, const char *path, bool persist, bool *ret_persistent,
                  struct shares_problem *ret_problem)
{
	char normal[PATH_MAX];
	struct share *there, *given;
	int r;

	if (allowlist_normalise(path, normal) < 0)
		return problem(ret_problem, -EINVAL, "bad-path", "%.1024s is not an absolute path without \"..\"",
		               path);
	there = list_find(&shares->list, normal);
	if (there == NULL)
		return problem(ret_problem, -ENOENT, "not-shared",
		               "%.1024s is not on the list of shares; bindsharectl share ls shows it", normal);
	given = list_find(&shares->given, normal);
	*ret_persistent = there->source == SHARE_POLICY || is_in_settings(shares, normal);
	if (*ret_persistent && !persist)
		return problem(ret_problem, -EINVAL, "settings",
		               "%.1024s is on the list of the settings file: change that, or leave \"persist\" out",
		               normal);
	r = *ret_persistent ? remove_from_settings(shares, normal, ret_problem) : 0;
	if (r < 0)
		return r;
	if (given != NULL)
		list_remove(&shares->given, given);
	shares_reload(shares);
	return 0;
}

void shares_done(struct shares *shares)
{
	list_done(&shares->list);
	list_done(&shares->given);
	allowlist_done(&shares->allowlist);
	settings_done(&shares->settings);
	policy_done(&shares->policy);
}
