/* SPDX-License-Identifier: Apache-2.0 */
/* What dockerd asks the authorization plugin, and what it is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include <cmocka.h>

#include "guest-fuse/agent/authorize.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

#define ASKED "\"RequestMethod\":\"POST\",\"RequestUri\":\"/v1.41/containers/create\""

static char error[AUTHORIZE_TEXT_SIZE];

static int read_question(const char *text, struct authorize_question *ret_question)
{
	error[0] = '\0';
	return authorize_read(text, strlen(text), ret_question, error, sizeof(error));
}

static void a_question_is_read(void **state)
{
	struct authorize_question question;

	assert_int_equal(read_question("{" ASKED ",\"RequestBody\":\"eyJhIjoxfQ==\",\"RequestHeaders\":"
	                               "{\"Content-Type\":\"application/x-www-FORM-urlencoded\"}}",
	                               &question),
	                 0);
	assert_string_equal(question.request.method, "POST");
	assert_string_equal(question.request.uri, "/v1.41/containers/create");
	assert_int_equal(question.request.length, 7);
	assert_memory_equal(question.request.body, "{\"a\":1}", 7);
	assert_true(question.request.form);
	assert_false(question.request.empty);
	authorize_question_done(&question);
}

static void a_body_that_is_not_there_is_told_from_an_empty_one(void **state)
{
	static const struct {
		const char *rest;
		bool empty;
	} cases[] = {
		{ "", false },
		{ ",\"RequestBody\":null", false },
		{ ",\"RequestBody\":\"\"", false },
		{ ",\"RequestHeaders\":{\"Content-Length\":\"0\"}", true },
		{ ",\"RequestHeaders\":{\"Content-Length\":\"00\"}", false },
		{ ",\"RequestHeaders\":{\"Content-Length\":0}", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct authorize_question question;
		char text[512];

		(void) snprintf(text, sizeof(text), "{" ASKED "%s}", cases[i].rest);
		assert_int_equal(read_question(text, &question), 0);
		assert_null(question.request.body);
		assert_int_equal(question.request.length, 0);
		assert_int_equal(question.request.empty, cases[i].empty);
		authorize_question_done(&question);
	}
}

static void what_is_no_question_is_told(void **state)
{
	static const char *const broken[] = {
		"",
		"x",
		"[]",
		"{}",
		"{\"RequestMethod\":\"POST\"}",
		"{\"RequestUri\":\"/x\"}",
		"{\"RequestMethod\":1,\"RequestUri\":\"/x\"}",
		"{" ASKED "," ASKED "}",
	};
	static const char *const bodies[] = { "1", "\"?\"", "\"e\"", "\"eyJhIjoxfQ==x\"", "{}", "\" eyJh\"" };
	struct authorize_question question;

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		assert_int_equal(read_question(broken[i], &question), -EINVAL);
		assert_non_null(strstr(error, "no JSON with RequestMethod and RequestUri"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		char text[512];

		(void) snprintf(text, sizeof(text), "{" ASKED ",\"RequestBody\":%s}", bodies[i]);
		if (read_question(text, &question) != -EINVAL)
			fail_msg("taken: %s", text);
		assert_string_equal(error, "RequestBody is no base64");
	}
}

/* By one bind of /home/me. in_place: the engine mounts it itself. */
static int decide(const char *runtime, bool in_place, json_t *decision)
{
	struct engine_binds binds = { .sources = json_pack("[{ss sb}]", "path", "/home//me", "inPlace", in_place) };
	_cleanup_json_ json_t *decisions = json_pack("[o]", decision);
	int r;

	assert_non_null(decisions);
	strcpy(binds.runtime, runtime);
	error[0] = '\0';
	r = authorize_decide("bindshare", &binds, decisions, error);
	json_decref(binds.sources);
	assert_int_equal(r == -EACCES, error[0] != '\0');
	return r;
}

static json_t *share(const char *kind, bool identical, const char *path, const char *rest)
{
	return json_pack("{ss ss ss sb ss}", "verdict", "share", "kind", kind, "share", path, "identical", identical,
	                 "rest", rest);
}

static void the_guests_own_and_shares_are_allowed(void **state)
{
	assert_int_equal(decide("", false, json_pack("{ss}", "verdict", "own")), 0);
	assert_int_equal(decide("runc", true, json_pack("{ss}", "verdict", "own")), 0);
	assert_int_equal(decide("", false, share("directory", false, "/home/me", "")), 0);
	assert_int_equal(decide("bindshare", false, share("file", false, "/home/me", "")), 0);
}

static void what_is_missing_is_to_be_made(void **state)
{
	assert_int_equal(decide("", false, share("missing", false, "/home", "me")), 1);
}

static void what_is_refused_is_denied_with_its_words(void **state)
{
	assert_int_equal(decide("", false, json_pack("{ss ss}", "verdict", "refused", "text", "not shared")), -EACCES);
	assert_string_equal(error, "not shared");
	assert_int_equal(decide("", false, json_pack("{ss}", "verdict", "refused")), -EACCES);
	assert_string_equal(error, "Mounts denied");
	assert_int_equal(decide("", false, json_object()), -EACCES);
	assert_int_equal(decide("", false, json_pack("{ss}", "verdict", "a new one")), -EACCES);
}

static void another_runtime_gets_no_share(void **state)
{
	assert_int_equal(decide("runc", false, share("directory", false, "/home/me", "")), -EACCES);
	assert_non_null(strstr(error, "the runtime runc knows nothing of shares"));
}

static void what_the_engine_mounts_itself_must_lie_at_its_path(void **state)
{
	assert_int_equal(decide("", true, share("directory", true, "/home/me", "")), 0);
	assert_int_equal(decide("", true, share("directory", true, "/home", "me")), 0);
	assert_int_equal(decide("", true, share("directory", false, "/home/me", "")),
	                 -EACCES); /* only beneath the root */
	assert_int_equal(decide("", true, share("directory", true, "/home", "other")), -EACCES); /* a link led there */
	assert_non_null(strstr(error, "would find another directory there"));
	assert_int_equal(decide("", true, json_pack("{ss sb}", "verdict", "share", "identical", 1)), -EACCES);
}

static void one_that_is_refused_refuses_all(void **state)
{
	struct engine_binds binds = { .sources =
		                              json_pack("[{ss} {ss} {ss}]", "path", "/a", "path", "/b", "path", "/c") };
	_cleanup_json_ json_t *decisions = json_pack("[{ss} {ss ss} {ss}]", "verdict", "own", "verdict", "refused",
	                                             "text", "no b", "verdict", "own");

	assert_int_equal(authorize_decide("bindshare", &binds, decisions, error), -EACCES);
	assert_string_equal(error, "no b");
	json_decref(binds.sources);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_read),
		cmocka_unit_test(a_body_that_is_not_there_is_told_from_an_empty_one),
		cmocka_unit_test(what_is_no_question_is_told),
		cmocka_unit_test(the_guests_own_and_shares_are_allowed),
		cmocka_unit_test(what_is_missing_is_to_be_made),
		cmocka_unit_test(what_is_refused_is_denied_with_its_words),
		cmocka_unit_test(another_runtime_gets_no_share),
		cmocka_unit_test(what_the_engine_mounts_itself_must_lie_at_its_path),
		cmocka_unit_test(one_that_is_refused_refuses_all),
	};

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests_name("authorize", tests, NULL, NULL);
}
