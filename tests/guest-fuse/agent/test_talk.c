/* SPDX-License-Identifier: Apache-2.0 */
/* What guestd and the server say to each other, with a server that is played. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/agent/talk.h"
#include "protocol/cleanup.h"
#include "tests/guest-fuse/agent/list-server.h"

static struct list_server server;
static struct talk talk;
static struct proto_token token;
static struct proto_refusal refusal;
static struct share_list list;

static int set_up(void **state)
{
	memset(&token, 7, sizeof(token));
	server = (struct list_server){ .token = token, .shares = { "/a", "/b" }, .count = 2, .leads_to = "/a/x" };
	list = (struct share_list){ 0 };
	return 0;
}

static int begin(void)
{
	return talk_begin(&talk, list_server_start(&server, -1), &token, &refusal);
}

static void end(void)
{
	talk_end(&talk);
	list_server_end(&server);
	share_list_done(&list);
}

static void the_list_is_read(void **state)
{
	assert_int_equal(begin(), 0);
	assert_true(talk.outdated);
	assert_int_equal(talk_read_list(&talk, &list), 0);
	assert_false(talk.outdated);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.shares[0].path, "/a");
	assert_string_equal(list.shares[1].canonical, "/b");
	assert_int_equal(list.shares[1].state, PROTO_SHARE_SERVED);
	assert_int_equal(list.shares[1].flags, PROTO_SHARE_READ_ONLY);
	end();
}

static void a_list_that_changes_meanwhile_is_read_again(void **state)
{
	server.change_at = 2;
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.shares[2].path, "/late");
	end();
}

static void an_empty_list_is_one(void **state)
{
	server.count = 0;
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), 0);
	assert_int_equal(list.count, 0);
	end();
}

static void a_list_that_is_too_long_is_not_believed(void **state)
{
	server.count_told = SHARE_LIST_MAX + 1;
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), -E2BIG);
	assert_int_equal(server.asked_shares, 0);
	end();
}

static void fewer_shares_than_were_told_of_are_an_error(void **state)
{
	server.count_told = 3;
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), -EPROTO);
	end();
}

static void an_answer_to_something_else_is_an_error(void **state)
{
	server.lies = true;
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), -EPROTO);
	end();
}

static void a_server_that_is_gone_is_told(void **state)
{
	server.closes = true;
	assert_int_equal(begin(), 0);
	assert_true(talk_read_list(&talk, &list) < 0);
	end();
}

static void a_server_that_refuses_says_why(void **state)
{
	server.refuses = true;
	assert_int_equal(begin(), -EACCES);
	assert_string_equal(refusal.text, "the token is wrong");
	list_server_end(&server);
}

static void a_server_without_the_token_is_none(void **state)
{
	server.token.key[0] ^= 1;
	assert_int_equal(begin(), -EKEYREJECTED);
	list_server_end(&server);
}

static void paths_are_resolved(void **state)
{
	struct proto_resolve_reply reply;
	char long_path[PROTO_SHARE_SIZE + 8];

	assert_int_equal(begin(), 0);
	assert_int_equal(talk_resolve(&talk, "/link", &reply), 0);
	assert_string_equal(reply.path.path, "/a/x");
	server.leads_to = NULL;
	assert_int_equal(talk_resolve(&talk, "/elsewhere", &reply), EACCES);
	server.busy = 1;
	assert_int_equal(talk_resolve(&talk, "/link", &reply), EBUSY);
	assert_int_equal(talk_resolve(&talk, "/link", &reply), EACCES);
	memset(long_path, 'x', sizeof(long_path));
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(talk_resolve(&talk, long_path, &reply), ENAMETOOLONG);
	assert_int_equal(server.asked_paths, 4);
	end();
}

static void refusals_and_signs_of_life_go_to_the_server(void **state)
{
	struct proto_bind_refused_request request = { .reason = PROTO_BIND_MISSING };

	strcpy(request.path.path, "/not/shared");
	assert_int_equal(begin(), 0);
	assert_int_equal(talk_tell_refused(&talk, &request), 0);
	assert_int_equal(talk_ping(&talk), 0); /* so that the one before has been read */
	assert_string_equal(server.refused, "/not/shared");
	assert_int_equal(server.pings, 1);
	strcpy(request.path.path, "no path");
	assert_int_equal(talk_tell_refused(&talk, &request), 0); /* cannot be told */
	assert_int_equal(talk_ping(&talk), 0);
	assert_string_equal(server.refused, "/not/shared");
	end();
}

static void news_make_the_list_stale(void **state)
{
	struct proto_resolve_reply reply;

	assert_int_equal(begin(), 0);
	assert_int_equal(talk_read_list(&talk, &list), 0);
	share_list_done(&list);
	server.change_at = server.asked_shares + 1;
	/* Comes before an answer, and is kept. */
	talk.outdated = true;
	talk.current.generation = 77;
	assert_int_equal(talk_read_list(&talk, &list), 0);
	assert_int_equal(list.count, 3);
	assert_int_equal(talk_resolve(&talk, "/x", &reply), 0);
	assert_false(talk_has_read(&talk));
	end();
}

static const char *explain(int error, const char *token_file)
{
	static char text[512];

	strcpy(refusal.text, "because");
	talk_explain(error, &refusal, token_file, text, sizeof(text));
	return text;
}

static void each_error_is_explained(void **state)
{
	assert_string_equal(explain(-EACCES, NULL), "it refuses: because");
	assert_non_null(strstr(explain(-EKEYREJECTED, "/etc/token"), "does not hold the token of /etc/token"));
	assert_non_null(strstr(explain(-EKEYREJECTED, NULL), "does not hold the token of nobody"));
	assert_non_null(strstr(explain(-EPROTO, NULL), "does not speak this version"));
	assert_non_null(strstr(explain(-ECONNRESET, NULL), "does not speak this version"));
	assert_non_null(strstr(explain(-ENODEV, NULL), "this kernel has no vsock"));
	assert_non_null(strstr(explain(-ECONNREFUSED, NULL),
	                       "cannot be reached (Connection refused): start bindshare-fileserver there"));
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_list_is_read),
		CASE(a_list_that_changes_meanwhile_is_read_again),
		CASE(an_empty_list_is_one),
		CASE(a_list_that_is_too_long_is_not_believed),
		CASE(fewer_shares_than_were_told_of_are_an_error),
		CASE(an_answer_to_something_else_is_an_error),
		CASE(a_server_that_is_gone_is_told),
		CASE(a_server_that_refuses_says_why),
		CASE(a_server_without_the_token_is_none),
		CASE(paths_are_resolved),
		CASE(refusals_and_signs_of_life_go_to_the_server),
		CASE(news_make_the_list_stale),
		CASE(each_error_is_explained),
	};

	return cmocka_run_group_tests_name("talk", tests, NULL, NULL);
}
