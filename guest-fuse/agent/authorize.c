/* SPDX-License-Identifier: Apache-2.0 */
/* What the authorization plugin is asked, and what it says. */
#include "guest-fuse/agent/authorize.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/paths.h"
#include "protocol/words.h"

/* The client's body, of which dockerd made base64. NULL and -1: it is none; NULL and 0: there is none. */
static char *decode_body(const json_t *request, ssize_t *ret_length)
{
	const json_t *value = json_object_get(request, "RequestBody");
	const char *text = json_string_value(value);
	size_t size = json_string_length(value), length = 0;
	char *body;

	*ret_length = 0;
	if (value == NULL || json_is_null(value) || (text != NULL && size == 0))
		return NULL;
	*ret_length = -1;
	body = text == NULL ? NULL : malloc(size + 1);
	if (body == NULL)
		return NULL;
	if (sodium_base642bin((unsigned char *) body, size, text, size, NULL, &length, NULL,
	                      sodium_base64_VARIANT_ORIGINAL) < 0) {
		free(body);
		return NULL;
	}
	*ret_length = (ssize_t) length;
	return body;
}

int authorize_read(const char *text, size_t length, struct authorize_question *ret_question, char *error,
                   size_t error_size)
{
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	/* Go takes this header away from a request whose body comes in chunks. */
	const json_t *headers = json_object_get(root, "RequestHeaders");
	const char *size = json_string_value(json_object_get(headers, "Content-Length"));
	const char *type = json_string_value(json_object_get(headers, "Content-Type"));
	struct authorize_question question = {
		.root = root,
		.request = {
			.method = json_string_value(json_object_get(root, "RequestMethod")),
			.uri = json_string_value(json_object_get(root, "RequestUri")),
			.empty = size != NULL && strcmp(size, "0") == 0,
			.form = type != NULL && strcasestr(type, "form") != NULL,
		},
	};
	ssize_t body;

	if (question.request.method == NULL || question.request.uri == NULL) {
		json_decref(root);
		return words_refuse(-EINVAL, error, error_size,
		                    "the request for authorization is no JSON with RequestMethod and RequestUri");
	}
	question.body = decode_body(root, &body);
	if (body < 0) {
		json_decref(root);
		return words_refuse(-EINVAL, error, error_size, "RequestBody is no base64");
	}
	question.request.body = question.body;
	question.request.length = (size_t) body;
	*ret_question = question;
	return 0;
}

void authorize_question_done(struct authorize_question *question)
{
	free(question->body);
	json_decref(question->root);
}

/*
 * The engine mounts it itself, at its path: what is there in the guest must be the share, with no link on the way that
 * leads elsewhere than on the host.
 */
static bool is_in_place(const char *path, const json_t *decision)
{
	const char *share = json_string_value(json_object_get(decision, "share"));
	const char *rest = json_string_value(json_object_get(decision, "rest"));
	char normal[PATH_MAX], there[PATH_MAX];

	if (!json_is_true(json_object_get(decision, "identical")) || share == NULL || rest == NULL ||
	    paths_normalise(path, normal) < 0)
		return false;
	return snprintf(there, sizeof(there), "%s%s%s", share, rest[0] != '\0' ? "/" : "", rest) <
	               (int) sizeof(there) &&
	       strcmp(there, normal) == 0;
}

/* Why one of them is refused: true and words. */
static bool is_refused(const char *runtime_name, const struct engine_binds *binds, size_t index, const json_t *decision,
                       char text[AUTHORIZE_TEXT_SIZE])
{
	const json_t *source = json_array_get(binds->sources, index);
	const char *path = json_string_value(json_object_get(source, "path"));
	const char *verdict = json_string_value(json_object_get(decision, "verdict"));
	const char *words = json_string_value(json_object_get(decision, "text"));

	if (verdict != NULL && strcmp(verdict, "own") == 0)
		return false;
	if (verdict == NULL || strcmp(verdict, "share") != 0)
		(void) snprintf(text, AUTHORIZE_TEXT_SIZE, "%s", words != NULL ? words : "Mounts denied");
	else if (binds->runtime[0] != '\0' && strcmp(binds->runtime, runtime_name) != 0)
		(void) snprintf(
		        text, AUTHORIZE_TEXT_SIZE,
		        "Mounts denied: The path %s is shared from the host, and the runtime %s knows nothing of "
		        "shares. Leave the runtime out, or ask for %s.",
		        path, binds->runtime, runtime_name);
	else if (json_is_true(json_object_get(source, "inPlace")) && !is_in_place(path, decision))
		(void) snprintf(
		        text, AUTHORIZE_TEXT_SIZE,
		        "Mounts denied: The path %s is shared from the host, but the engine, which mounts this "
		        "volume itself, would find another directory there. Bind the path in place of the volume.",
		        path);
	else
		return false;
	return true;
}

int authorize_decide(const char *runtime_name, const struct engine_binds *binds, const json_t *decisions,
                     char text[AUTHORIZE_TEXT_SIZE])
{
	const json_t *decision;
	bool missing = false;
	size_t i;

	json_array_foreach(decisions, i, decision)
	{
		const char *kind = json_string_value(json_object_get(decision, "kind"));

		if (is_refused(runtime_name, binds, i, decision, text))
			return -EACCES;
		missing = missing || (kind != NULL && strcmp(kind, "missing") == 0);
	}
	return missing ? 1 : 0;
}
