/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what the server is steered by out of the guests' reach. */
#include "fileserver/broker/guard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "protocol/log.h"

/* As the process would open it. */
static int add(struct steering *steering, const char *what, const char *path, unsigned flags)
{
	char here[PATH_MAX], whole[2 * PATH_MAX];

	if (path == NULL || path[0] == '\0')
		return 0;
	if (path[0] == '/')
		return steering_add(steering, what, path, flags);
	if (getcwd(here, sizeof(here)) == NULL)
		return -errno;
	(void) snprintf(whole, sizeof(whole), "%s/%s", here, path);
	return steering_add(steering, what, whole, flags);
}

int guard_set_up(struct guard *guard, const struct options *options, const struct shares *shares, const char *control)
{
	struct steering *steering = &guard->steering;
	char settings[PATH_MAX];
	int r = add(steering, "settings file", shares->settings_path, STEERING_SEAL);

	guard->shares = shares;
	/* It counts at the next start, if not now. */
	if (r == 0 && settings_default_path(settings, sizeof(settings)) == 0)
		r = add(steering, "settings file", settings, STEERING_SEAL);
	if (r == 0)
		r = add(steering, "administrator's policy", shares->policy_path, STEERING_SEAL);
	if (r == 0)
		r = add(steering, "token file", options->token_file, STEERING_SEAL | STEERING_SECRET);
	if (r == 0)
		r = add(steering, "log file", options->log_file, 0);
	if (r == 0)
		r = add(steering, "control socket", control, STEERING_SEAL);
	if (r == 0 && options->listen.kind == PROTO_ADDRESS_UNIX)
		r = add(steering, "socket", options->listen.path, STEERING_SEAL);
	return r < 0 ? r : steering_add_own(steering);
}

/* True: guests may write to it. */
static bool is_in_reach(const struct share *share)
{
	return share->state == SHARE_SERVED && !share->read_only;
}

void guard_watch(const struct guard *guard, struct watch *watch)
{
	for (size_t i = 0; i < guard->shares->list.count; i++) {
		const struct share *share = &guard->shares->list.shares[i];
		const struct steering_subject *subject = NULL;

		if (!is_in_reach(share))
			continue;
		while ((subject = steering_beneath(&guard->steering, share->path, subject)) != NULL)
			watch_add(watch, subject->path, false);
	}
}

/* True: the user was not told of this before. */
static bool is_news(struct guard *guard, const struct share *share, const struct steering_subject *subject)
{
	uint64_t hash =
	        XXH3_64bits_withSeed(share->path, strlen(share->path), (uint64_t) (subject - guard->steering.subjects));

	for (size_t i = 0; i < guard->told_count; i++)
		if (guard->told[i] == hash)
			return false;
	if (guard->told_count == GUARD_TOLD_MAX)
		return false;
	guard->told[guard->told_count++] = hash;
	return true;
}

static void tell_share(struct guard *guard, const struct share *share)
{
	const struct steering_subject *subject = NULL;

	if (!is_in_reach(share))
		return;
	while ((subject = steering_beneath(&guard->steering, share->path, subject)) != NULL) {
		if (!is_news(guard, share, subject))
			continue;
		log_warning("the server's %s %s lies in the shared directory %s: guests cannot change it%s",
		            subject->what, subject->path, share->path,
		            (subject->flags & STEERING_TREE) != 0   ? ", nor anything beneath it"
		            : (subject->flags & STEERING_SEAL) != 0 ? ", nor what lies in the same directory"
		                                                    : "");
		events_tell(guard->events, "share-protected",
		            json_pack("{so ss so}", "path", events_text(share->path), "what", subject->what,
		                      "protected", events_text(subject->path)));
	}
}

void guard_look(struct guard *guard)
{
	if (steering_look(&guard->steering))
		supervisor_protect(guard->supervisor);
	for (size_t i = 0; i < guard->shares->list.count; i++)
		tell_share(guard, &guard->shares->list.shares[i]);
}

json_t *guard_status(const struct guard *guard)
{
	json_t *array = json_array();
	const struct shares *shares = guard->shares;

	for (size_t i = 0; i < guard->steering.count; i++) {
		const struct steering_subject *subject = &guard->steering.subjects[i];
		const struct steering_subject *before = i == 0 ? NULL : subject - 1;
		const char *share = NULL;

		for (size_t k = 0; k < shares->list.count && share == NULL; k++)
			if (is_in_reach(&shares->list.shares[k]) &&
			    steering_beneath(&guard->steering, shares->list.shares[k].path, before) == subject)
				share = shares->list.shares[k].path;
		json_array_append_new(array,
		                      json_pack("{ss so so}", "what", subject->what, "path", events_text(subject->path),
		                                "share", share == NULL ? json_null() : events_text(share)));
	}
	return array;
}

void guard_done(struct guard *guard)
{
	steering_done(&guard->steering);
}
