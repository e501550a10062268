/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket answers; requests that change something are in requests.c. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "fileserver/broker/control.h"
#include "fileserver/sandbox/sandbox.h"
#include "protocol/cleanup.h"

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t) (value > INT64_MAX ? INT64_MAX : value));
}

static json_t *gauge(const _Atomic uint64_t *value)
{
	return number(proto_counter_get(value));
}

static json_t *operations(const struct proto_counters *counters)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < PROTO_OP_LIMIT; i++) {
		const struct proto_op_info *info = proto_op_info(i);
		const struct proto_counter *counter = &counters->ops[i];

		if (info == NULL || proto_counter_get(&counter->count) == 0)
			continue;
		json_object_set_new(object, info->name,
		                    json_pack("{so so so so}", "count", gauge(&counter->count), "errors",
		                              gauge(&counter->errors), "bytes", gauge(&counter->bytes), "nanoseconds",
		                              gauge(&counter->nanoseconds)));
	}
	return object;
}

/* What the guest is promised to be told of, and why it may be nothing. */
static json_t *leases_status(const struct proto_counters *counters)
{
	static const char *const states[] = {
		[0] = "starting",
		[LEASES_GIVEN] = "given",
		[LEASES_NOT_ASKED] = "not-asked",
		[LEASES_NO_WATCH] = "no-watch",
		[LEASES_NO_MARKS] = "no-marks",
		[LEASES_FILE_SYSTEM] = "file-system",
		[LEASES_BEHIND] = "behind",
	};
	uint64_t state = proto_counter_get(&counters->leases_state);

	return json_pack("{ss so so so so}", "state", state < ARRAY_SIZE(states) ? states[state] : "unknown",
	                 "directories", gauge(&counters->leases), "directories_max", gauge(&counters->leases_most),
	                 "events", gauge(&counters->lease_events), "overflows", gauge(&counters->lease_overflows));
}

static json_t *mount_status(const struct worker *worker)
{
	static const char *const states[] = { "starting", "serving", "stopping" };
	const struct proto_counters *counters = worker->process.counters;

	return json_pack("{so so sb ss sI si so so so so so so}", "share", events_text(worker->path), "requested",
	                 events_text(worker->requested), "read_only", worker->read_only, "state", states[worker->state],
	                 "since", (json_int_t) worker->since, "pid", (int) worker->process.handle.pid, "peer",
	                 worker->peer == NULL ? json_null() : events_text(worker->peer), "lanes",
	                 gauge(&counters->lanes), "nodes", gauge(&counters->nodes), "handles",
	                 gauge(&counters->handles), "descriptors", gauge(&counters->descriptors), "leases",
	                 leases_status(counters));
}

static json_t *text_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? json_null() : events_text(text);
}

/* Where the list comes from, and whether that is well. */
static json_t *sources(const struct control_facts *facts)
{
	const struct shares *shares = facts->shares;

	return json_pack("{so so so so si si}", "settings", text_or_null(shares->settings_path), "settings_error",
	                 text_or_null(shares->settings_error), "policy",
	                 text_or_null(shares->policy_is_optional ? NULL : shares->policy_path), "policy_error",
	                 text_or_null(shares->policy_error), "watched_directories", (int) facts->watch->count,
	                 "unwatched_directories", (int) facts->watch->failed);
}

static json_t *status(const struct control_facts *facts)
{
	const struct worker *worker;
	json_t *mounts = json_array(), *listen = json_array(), *answer;

	for (size_t i = 0; i < facts->listen_count; i++)
		json_array_append_new(listen, events_text(facts->listen[i]));
	for (worker = facts->supervisor->workers; worker != NULL; worker = worker->next)
		json_array_append_new(mounts, mount_status(worker));
	answer = json_pack("{si ss si si si sI so sb ss si so}", "version", 1, "release", BINDSHARE_VERSION, "protocol",
	                   PROTO_VERSION_MAX, "pid", (int) getpid(), "uid", (int) geteuid(), "since",
	                   (json_int_t) facts->since, "listen", listen, "token", facts->token_file != NULL, "sandbox",
	                   SANDBOX_TIER, "mounts_max", (int) facts->supervisor->workers_max, "mounts", mounts);
	(void) json_object_update_new(answer, sources(facts));
	if (facts->guard != NULL) {
		(void) json_object_set_new(answer, "protected", guard_status(facts->guard));
		(void) json_object_set_new(answer, "changes_refused", number(facts->supervisor->changes_refused));
	}
	return answer;
}

static json_t *stats(const struct control_facts *facts)
{
	const struct worker *worker;
	struct proto_counters sum;
	json_t *mounts = json_array();

	memset(&sum, 0, sizeof(sum));
	process_add_counters(&sum, &facts->supervisor->past);
	for (worker = facts->supervisor->workers; worker != NULL; worker = worker->next) {
		process_add_counters(&sum, worker->process.counters);
		json_array_append_new(mounts, json_pack("{so si so}", "share", events_text(worker->path), "pid",
		                                        (int) worker->process.handle.pid, "operations",
		                                        operations(worker->process.counters)));
	}
	return json_pack("{si so so}", "version", 1, "operations", operations(&sum), "mounts", mounts);
}

static json_t *shares(const struct control_facts *facts)
{
	const struct allowlist *allowlist = &facts->shares->allowlist;
	const struct share_list *list = &facts->shares->list;
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++) {
		const struct share *share = &list->shares[i];
		struct allowlist_match match;
		bool present = share->state == SHARE_SERVED && allowlist_match(allowlist, share->path, &match) == 0;

		json_array_append_new(
		        array, json_pack("{so so sb sb ss ss so so so}", "path", events_text(share->path), "canonical",
		                         present ? events_text(match.path) : json_null(), "read_only", share->read_only,
		                         "present", present, "state", share_state_name(share->state), "source",
		                         share_source_name(share->source), "owner", text_or_null(share->mount.owner),
		                         "permissions", text_or_null(share->mount.permissions), "cache",
		                         text_or_null(share->mount.cache)));
	}
	return json_pack("{si so}", "version", 1, "shares", array);
}

char *control_error(const char *code, const char *text)
{
	json_t *answer = control_error_object(code, text);
	char *line = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);

	json_decref(answer);
	return line;
}

static json_t *answer_to(const struct control_facts *facts, const char *name, json_t *question, struct uptake *uptake,
                         enum control_next *ret_next)
{
	json_t *answer;

	if (strcmp(name, "status") == 0)
		return status(facts);
	if (strcmp(name, "stats") == 0)
		return stats(facts);
	if (strcmp(name, "shares") == 0)
		return shares(facts);
	if (strcmp(name, "subscribe") == 0) {
		*ret_next = CONTROL_SUBSCRIBE;
		return json_pack("{si sb sI}", "version", 1, "subscribed", true, "sequence",
		                 (json_int_t) facts->events->sequence);
	}
	if (strcmp(name, "sync") == 0)
		return control_sync(facts, question, uptake, ret_next);
	answer = control_change(facts, name, question, ret_next);
	if (answer != NULL)
		return answer;
	return control_error_object("no-such-request", "no such request; there are status, stats, shares, share-add, "
	                                               "share-remove, subscribe, sync and token-rotate");
}

char *control_answer(const struct control_facts *facts, const char *request, size_t length, struct uptake *uptake,
                     enum control_next *ret_next)
{
	json_t *question = json_loadb(request, length, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(question, "request"));
	json_t *answer;
	char *line;

	*ret_next = CONTROL_CLOSE;
	if (name == NULL)
		answer = control_error_object("malformed", "the request is not a line of JSON like "
		                                           "{\"version\":1,\"request\":\"status\"}");
	else if (json_integer_value(json_object_get(question, "version")) != 1)
		answer =
		        control_error_object("version", "this server speaks version 1 of the control protocol; use the "
		                                        "bindsharectl that came with it");
	else
		answer = answer_to(facts, name, question, uptake, ret_next);
	line = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	json_decref(question);
	return line;
}
