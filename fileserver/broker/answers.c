/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket answers. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "fileserver/broker/control.h"
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

static json_t *mount_status(const struct worker *worker)
{
	static const char *const states[] = { "starting", "serving", "stopping" };
	const struct proto_counters *counters = worker->process.counters;

	return json_pack("{so so sb ss sI si so so so so}", "share", events_text(worker->path), "requested",
	                 events_text(worker->requested), "read_only", worker->read_only, "state", states[worker->state],
	                 "since", (json_int_t) worker->since, "pid", (int) worker->process.handle.pid, "lanes",
	                 gauge(&counters->lanes), "nodes", gauge(&counters->nodes), "handles",
	                 gauge(&counters->handles), "descriptors", gauge(&counters->descriptors));
}

static json_t *status(const struct control_facts *facts)
{
	const struct worker *worker;
	json_t *mounts = json_array(), *listen = json_array();

	for (size_t i = 0; i < facts->listen_count; i++)
		json_array_append_new(listen, events_text(facts->listen[i]));
	for (worker = facts->supervisor->workers; worker != NULL; worker = worker->next)
		json_array_append_new(mounts, mount_status(worker));
	return json_pack("{si ss si si si sI so sb so si so}", "version", 1, "release", BINDSHARE_VERSION, "protocol",
	                 PROTO_VERSION_MAX, "pid", (int) getpid(), "uid", (int) geteuid(), "since",
	                 (json_int_t) facts->since, "listen", listen, "token", facts->has_token, "settings",
	                 facts->settings == NULL ? json_null() : events_text(facts->settings), "mounts_max",
	                 (int) facts->supervisor->workers_max, "mounts", mounts);
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
	const struct allowlist *list = facts->supervisor->allowlist;
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++) {
		struct allowlist_match match;
		bool present = allowlist_match(list, list->entries[i].path, &match) == 0;

		json_array_append_new(array, json_pack("{so so sb sb}", "path", events_text(list->entries[i].path),
		                                       "canonical", present ? events_text(match.path) : json_null(),
		                                       "read_only", list->entries[i].read_only, "present", present));
	}
	return json_pack("{si so}", "version", 1, "shares", array);
}

char *control_answer(const struct control_facts *facts, const char *request, size_t length)
{
	json_t *question = json_loadb(request, length, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(question, "request"));
	const char *error = NULL;
	json_t *answer = NULL;
	char *line;

	if (name == NULL)
		error = "the request is not a line of JSON like {\"version\":1,\"request\":\"status\"}";
	else if (json_integer_value(json_object_get(question, "version")) != 1)
		error = "this server speaks version 1 of the control protocol; use the bindsharectl that came with it";
	else if (strcmp(name, "status") == 0)
		answer = status(facts);
	else if (strcmp(name, "stats") == 0)
		answer = stats(facts);
	else if (strcmp(name, "shares") == 0)
		answer = shares(facts);
	else
		error = "no such request; there are status, stats and shares";
	if (error != NULL)
		answer = json_pack("{si ss}", "version", 1, "error", error);
	line = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	json_decref(question);
	return line;
}
