/* SPDX-License-Identifier: Apache-2.0 */
/* Requests at the control socket that change something. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileserver/broker/control.h"
#include "protocol/log.h"

json_t *control_error_object(const char *code, const char *text)
{
	return json_pack("{si so ss}", "version", 1, "error", events_text(text), "code", code);
}

/* A member that is true or false, or not there. False: it is something else. */
static bool take_flag(json_t *question, const char *key, bool otherwise, bool *ret_flag)
{
	const json_t *value = json_object_get(question, key);

	*ret_flag = value == NULL ? otherwise : json_is_true(value);
	return value == NULL || json_is_boolean(value);
}

static json_t *change_share(const struct control_facts *facts, json_t *question, bool add, enum control_next *ret_next)
{
	const json_t *path = json_object_get(question, "path");
	struct shares_problem problem;
	struct allowlist_match match;
	bool persist, read_only, persistent;
	json_t *answer;
	int r;

	if (json_string_value(path) == NULL || strlen(json_string_value(path)) != json_string_length(path) ||
	    !take_flag(question, "read_only", false, &read_only) || !take_flag(question, "persist", true, &persist))
		return control_error_object(
		        "malformed", add ? "share-add is {\"version\":1,\"request\":\"share-add\",\"path\":\"/x\","
		                           "\"read_only\":false,\"persist\":true}"
		                         : "share-remove is {\"version\":1,\"request\":\"share-remove\","
		                           "\"path\":\"/x\",\"persist\":true}");
	if (add)
		r = shares_add(facts->shares, json_string_value(path), read_only, persist, &persistent, &problem);
	else
		r = shares_remove(facts->shares, json_string_value(path), persist, &persistent, &problem);
	if (r < 0)
		return control_error_object(problem.code, problem.text);
	log_info("control: %s %s%s", add ? "added" : "removed", json_string_value(path),
	         add && read_only ? ", read-only" : "");
	facts->changed(facts->context);
	*ret_next = CONTROL_SETTLE;
	answer = json_pack("{si ss sb}", "version", 1, add ? "added" : "removed", json_string_value(path), "persistent",
	                   persistent);
	/* A directory above it may be on the list. */
	if (!add)
		(void) json_object_set_new(
		        answer, "still_shared",
		        json_boolean(allowlist_match(&facts->shares->allowlist, json_string_value(path), &match) == 0));
	return answer;
}

static json_t *rotate_token(const struct control_facts *facts, json_t *question, enum control_next *ret_next)
{
	char error[SHARES_ERROR_SIZE];
	bool from_file, end_mounts;
	int r;

	if (!take_flag(question, "from_file", false, &from_file) ||
	    !take_flag(question, "end_mounts", false, &end_mounts))
		return control_error_object("malformed", "from_file and end_mounts are true or false");
	if (facts->token_file == NULL)
		return control_error_object("no-token", "the server has no token: it was started without --token-file");
	r = facts->rotate_token(facts->context, from_file, error, sizeof(error));
	if (r < 0)
		return control_error_object("token-file", error);
	log_info("control: the token was changed%s", end_mounts ? "; every mount is ended" : "");
	events_tell(facts->events, "token-rotated", json_pack("{sb}", "end_mounts", end_mounts));
	if (end_mounts)
		(void) supervisor_end_mounts(facts->supervisor, "The server's token was changed. Mount again.");
	*ret_next = CONTROL_SETTLE;
	return json_pack("{si so}", "version", 1, "token_file", events_text(facts->token_file));
}

json_t *control_change(const struct control_facts *facts, const char *name, json_t *question,
                       enum control_next *ret_next)
{
	if (strcmp(name, "share-add") == 0)
		return change_share(facts, question, true, ret_next);
	if (strcmp(name, "share-remove") == 0)
		return change_share(facts, question, false, ret_next);
	if (strcmp(name, "token-rotate") == 0)
		return rotate_token(facts, question, ret_next);
	return NULL;
}
