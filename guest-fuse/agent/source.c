/* SPDX-License-Identifier: Apache-2.0 */
/* One path of a request for binds. */
#include "guest-fuse/agent/source.h"

#include <errno.h>
#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/messages.h"

int source_init(struct source *source, const json_t *value)
{
	const json_t *path = json_is_object(value) ? json_object_get(value, "path") : value;
	const char *text = document_text(path);

	*source = (struct source){ .create = json_is_true(json_object_get(value, "create")) };
	if (text == NULL)
		return -EINVAL;
	source->path = strdup(text);
	return source->path == NULL ? -ENOMEM : 0;
}

void source_done(struct source *source)
{
	free(source->path);
	free(source->resolved);
	free(source->ask);
	free(source->refused);
	json_decref(source->answer);
}

/* NULL: something in it is no UTF-8. */
static json_t *pack_decision(const struct binds_decision *decision)
{
	const struct binds_share *share = decision->share;

	if (decision->verdict == BINDS_OWN)
		return json_pack("{s:s}", "verdict", "own");
	if (decision->verdict == BINDS_SHARE)
		return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b}", "verdict", "share", "share", share->path,
		                 "mount", share->mount, "rest", decision->rest, "kind", binds_kind_name(decision->kind),
		                 "readOnly", share->read_only, "idmap", share->idmap, "identical", share->identical);
	return json_pack("{s:s, s:s, s:s}", "verdict", "refused", "code", decision->code, "text", decision->text);
}

static json_t *decision_json(const struct binds_decision *decision)
{
	json_t *object = pack_decision(decision);

	if (object != NULL)
		return object;
	return json_pack("{s:s, s:s, s:s}", "verdict", "refused", "code", "special", "text",
	                 "Mounts denied: The path leads to a name that is no UTF-8, which no engine can carry.");
}

/* What the user of the host can do something about is told there. */
static void note_refusal(struct source *source, const struct binds_decision *decision)
{
	static const struct {
		const char *code;
		uint32_t reason;
	} reasons[] = {
		{ "not-shared", PROTO_BIND_NOT_SHARED }, { "leads-out", PROTO_BIND_LEADS_OUT },
		{ "missing", PROTO_BIND_MISSING },       { "socket", PROTO_BIND_SOCKET },
		{ "special", PROTO_BIND_SPECIAL },
	};

	free(source->refused);
	source->refused = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(reasons) && decision->verdict == BINDS_REFUSED && decision->path[0] == '/';
	     i++) {
		if (strcmp(decision->code, reasons[i].code) != 0)
			continue;
		source->refused = strdup(decision->path);
		source->reason = reasons[i].reason;
		return;
	}
}

/* A directory that is missing; then it is as with one that was there. */
static void make(const struct source *source, const struct guest_config *config, const struct binds_table *table,
                 struct binds_decision *decision)
{
	const struct binds_question question = { source->path, source->resolved, false };
	int r = binds_make(decision);

	if (r < 0)
		log_info("cannot make %s in %s: %s", decision->rest, decision->share->path, strerror(-r));
	binds_decide(config, table, &question, decision);
}

void source_decide(struct source *source, const struct guest_config *config, const struct binds_table *table,
                   bool make_missing)
{
	const struct binds_question question = { source->path, source->resolved, source->create };
	struct binds_decision decision;

	/* What was decided stays so, and what the server is asked waits for its word. */
	if (source->ask != NULL || (source->answer != NULL && !source->waits))
		return;
	binds_decide(config, table, &question, &decision);
	if (make_missing && decision.verdict == BINDS_SHARE && decision.kind == BINDS_TO_BE_MADE)
		make(source, config, table, &decision);
	json_decref(source->answer);
	source->answer = NULL;
	source->waits = decision.verdict == BINDS_WAIT;
	if (decision.verdict == BINDS_RESOLVE)
		source->ask = strdup(decision.path);
	else
		source->answer = decision_json(&decision);
	note_refusal(source, &decision);
}

void source_not_reached(struct source *source, const struct guest_config *config)
{
	const struct binds_question question = { source->path, NULL, source->create };
	const struct binds_table nothing = { .known = false };
	struct binds_decision decision;

	if (source->ask == NULL)
		return;
	binds_decide(config, &nothing, &question, &decision);
	json_decref(source->answer);
	source->answer = decision_json(&decision);
	source->waits = true;
	free(source->ask);
	source->ask = NULL;
}
