/* SPDX-License-Identifier: Apache-2.0 */
/* The request "sync" at the control socket: it is answered when the guests have taken in what the host has changed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileserver/broker/control.h"
#include "protocol/cleanup.h"

/* Words about a path that cannot be waited for. */
static json_t *bad_path(const char *path, int error)
{
	char text[PATH_MAX + 128];

	switch (error) {
	case -EINVAL:
	case -ENAMETOOLONG:
		(void) snprintf(text, sizeof(text), "%s: not an absolute path without \"..\"", path);
		return control_error_object("bad-path", text);
	case -ENOENT:
		(void) snprintf(text, sizeof(text), "%s: there is no such directory", path);
		return control_error_object("not-found", text);
	case -ENOTDIR:
		(void) snprintf(text, sizeof(text), "%s: not a directory; name the one that it is in", path);
		return control_error_object("not-directory", text);
	case -ENOMEM:
		return control_error_object("system", "out of memory");
	default:
		(void) snprintf(text, sizeof(text), "%s is not shared; bindsharectl share ls tells what is", path);
		return control_error_object("not-shared", text);
	}
}

/* Where the path leads, in a directory that is shared. 0 or a negative errno. */
static int resolve(const struct control_facts *facts, const char *path, char ret_canonical[PATH_MAX])
{
	struct allowlist_match match;
	char normal[PATH_MAX];
	int r = allowlist_normalise(path, normal);

	if (r == 0)
		r = allowlist_match(&facts->shares->allowlist, normal, &match);
	if (r == 0)
		memcpy(ret_canonical, match.path, PATH_MAX);
	return r;
}

json_t *control_sync(const struct control_facts *facts, json_t *question, struct uptake *uptake,
                     enum control_next *ret_next)
{
	const json_t *path = json_object_get(question, "path"), *timeout = json_object_get(question, "timeout");
	json_int_t seconds = timeout == NULL ? CONTROL_SYNC_S : json_integer_value(timeout);
	int r;

	if ((path != NULL && (!json_is_string(path) || strlen(json_string_value(path)) != json_string_length(path))) ||
	    seconds < 1 || seconds > CONTROL_SYNC_MOST_S)
		return control_error_object("malformed", "sync is {\"version\":1,\"request\":\"sync\",\"path\":\"/x\","
		                                         "\"timeout\":10}; the timeout is 1 to 86400 seconds");
	uptake->path[0] = '\0';
	r = path == NULL ? 0 : resolve(facts, json_string_value(path), uptake->path);
	if (r < 0)
		return bad_path(json_string_value(path), r);
	*ret_next = CONTROL_UPTAKE;
	return json_pack("{si si}", "version", 1, "mounts",
	                 (int) uptake_begin(facts->supervisor, uptake, (uint32_t) seconds * 1000));
}

char *control_unanswered(const struct control_facts *facts, const struct uptake *uptake)
{
	json_t *mounts = json_array(), *answer;
	const struct worker *worker;
	char *words = NULL, *line;
	unsigned count = 0;
	size_t size;
	FILE *text = open_memstream(&words, &size);

	if (text == NULL) {
		json_decref(mounts);
		return NULL;
	}
	(void) fputs("not every guest has taken in what was changed on the host; no answer in time from: ", text);
	for (worker = facts->supervisor->workers; worker != NULL; worker = worker->next) {
		if (!uptake_waits_for(uptake, worker))
			continue;
		(void) fprintf(text, "%s%s (%s)", count++ > 0 ? ", " : "", worker->path, worker->peer);
		json_array_append_new(mounts,
		                      json_pack("{so si so}", "share", events_text(worker->path), "pid",
		                                (int) worker->process.handle.pid, "peer", events_text(worker->peer)));
	}
	answer = fclose(text) == 0 ? control_error_object("unanswered", words) : NULL;
	(void) json_object_set_new(answer, "unanswered", mounts);
	line = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	free(words);
	return line;
}
