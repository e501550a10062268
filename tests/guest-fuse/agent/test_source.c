/* SPDX-License-Identifier: Apache-2.0 */
/* One path that somebody wants to bind: what is asked, waited for and answered, in which order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/source.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/messages.h"
#include "tests/support/scratch.h"

static struct guest_config config;
static struct binds_share share;
static struct binds_table table;
static struct source source;

/* The host shares /projects, which is mounted at a directory of the test's, with a directory and a file in it. */
static int set_up(void **state)
{
	(void) scratch_make();
	assert_int_equal(guest_config_default(&config), 0);
	share = (struct binds_share){ .path = (char *) "/projects",
		                      .canonical = (char *) "/projects",
		                      .mount = strdup(scratch_directory("mount")),
		                      .state = BINDS_MOUNTED };
	(void) scratch_directory("mount/dir");
	(void) scratch_file("mount/file", "x", 0644);
	table = (struct binds_table){ .known = true, .shares = &share, .count = 1 };
	return 0;
}

static int tear_down(void **state)
{
	source_done(&source);
	source = (struct source){ 0 };
	free(share.mount);
	guest_config_done(&config);
	scratch_remove();
	return 0;
}

static void drop(void)
{
	source_done(&source);
	source = (struct source){ 0 };
}

static void begin(const char *path, bool create)
{
	_cleanup_json_ json_t *value = json_pack("{ss sb}", "path", path, "create", create);

	drop();
	assert_int_equal(source_init(&source, value), 0);
}

static void decide(bool make)
{
	source_decide(&source, &config, &table, make);
}

static const char *answer(const char *key)
{
	const char *text = json_string_value(json_object_get(source.answer, key));

	return text == NULL ? "" : text;
}

static void a_source_is_a_path_or_an_object(void **state)
{
	_cleanup_json_ json_t *text = json_string("/a"), *number = json_integer(1), *empty = json_object();

	drop();
	assert_int_equal(source_init(&source, text), 0);
	assert_string_equal(source.path, "/a");
	assert_false(source.create);
	begin("/b", true);
	assert_string_equal(source.path, "/b");
	assert_true(source.create);
	drop();
	assert_int_equal(source_init(&source, number), -EINVAL);
	drop();
	assert_int_equal(source_init(&source, empty), -EINVAL);
}

static void something_of_a_share_is_answered_for_good(void **state)
{
	begin("/projects/dir", false);
	decide(false);
	assert_string_equal(answer("verdict"), "share");
	assert_string_equal(answer("kind"), "directory");
	assert_string_equal(answer("rest"), "dir");
	assert_false(source.waits);
	assert_null(source.refused);
	/* What comes later changes nothing. */
	table.count = 0;
	decide(false);
	assert_string_equal(answer("verdict"), "share");
}

static void a_share_that_is_not_mounted_yet_is_waited_for(void **state)
{
	share.state = BINDS_PENDING;
	begin("/projects/dir", false);
	decide(false);
	assert_true(source.waits);
	assert_string_equal(answer("verdict"), "refused"); /* the answer if the time is over */
	assert_string_equal(answer("code"), "not-mounted");
	share.state = BINDS_MOUNTED;
	decide(false);
	assert_false(source.waits);
	assert_string_equal(answer("verdict"), "share");
}

static void a_path_in_no_share_is_asked_of_the_server(void **state)
{
	begin("/link/dir", false);
	decide(false);
	assert_string_equal(source.ask, "/link/dir");
	assert_null(source.answer);
	decide(false); /* waits for the server's word */
	assert_null(source.answer);
	free(source.ask);
	source.ask = NULL;
	source.resolved = strdup("/projects/dir");
	decide(false);
	assert_string_equal(answer("verdict"), "share");
	assert_string_equal(answer("rest"), "dir");
}

static void a_path_that_leads_nowhere_is_refused_and_the_server_is_told(void **state)
{
	begin("/elsewhere", false);
	decide(false);
	free(source.ask);
	source.ask = NULL;
	source.resolved = strdup("");
	decide(false);
	assert_string_equal(answer("verdict"), "refused");
	assert_string_equal(answer("code"), "not-shared");
	assert_string_equal(source.refused, "/elsewhere");
	assert_int_equal(source.reason, PROTO_BIND_NOT_SHARED);
	assert_false(source.waits);
}

static void without_a_server_it_is_not_known_yet(void **state)
{
	begin("/link", false);
	decide(false);
	source_not_reached(&source, &config);
	assert_null(source.ask);
	assert_true(source.waits);
	assert_string_equal(answer("code"), "unknown-yet");
	/* Where nothing is asked it is nothing. */
	begin("/projects/dir", false);
	decide(false);
	source_not_reached(&source, &config);
	assert_string_equal(answer("verdict"), "share");
}

static void what_is_missing_is_refused_and_told(void **state)
{
	begin("/projects/none", false);
	decide(true);
	assert_string_equal(answer("verdict"), "refused");
	assert_string_equal(answer("code"), "missing");
	assert_int_equal(source.reason, PROTO_BIND_MISSING);
	assert_int_equal(access(scratch_path("mount/none"), F_OK), -1);
}

static void what_may_be_made_is_made_only_when_that_is_asked_for(void **state)
{
	struct stat st;

	begin("/projects/new/deep", true);
	decide(false);
	assert_string_equal(answer("verdict"), "share");
	assert_string_equal(answer("kind"), "missing");
	assert_int_equal(access(scratch_path("mount/new"), F_OK), -1);
	begin("/projects/new/deep", true);
	decide(true);
	assert_string_equal(answer("verdict"), "share");
	assert_string_equal(answer("kind"), "directory");
	assert_int_equal(stat(scratch_path("mount/new/deep"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
}

static void a_path_that_is_not_absolute_is_refused_and_nobody_is_told(void **state)
{
	begin("work", false);
	decide(false);
	assert_string_equal(answer("code"), "not-absolute");
	assert_null(source.refused);
}

static void a_link_to_a_name_that_json_cannot_carry_is_refused(void **state)
{
	assert_int_equal(mkdir(scratch_path("mount/\xff"), 0755), 0);
	assert_int_equal(symlink("\xff", scratch_path("mount/link")), 0);
	begin("/projects/link", false);
	decide(false);
	assert_string_equal(answer("verdict"), "refused");
	assert_string_equal(answer("code"), "special");
	assert_non_null(strstr(answer("text"), "no UTF-8"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_source_is_a_path_or_an_object),
		CASE(something_of_a_share_is_answered_for_good),
		CASE(a_share_that_is_not_mounted_yet_is_waited_for),
		CASE(a_path_in_no_share_is_asked_of_the_server),
		CASE(a_path_that_leads_nowhere_is_refused_and_the_server_is_told),
		CASE(without_a_server_it_is_not_known_yet),
		CASE(what_is_missing_is_refused_and_told),
		CASE(what_may_be_made_is_made_only_when_that_is_asked_for),
		CASE(a_path_that_is_not_absolute_is_refused_and_nobody_is_told),
		CASE(a_link_to_a_name_that_json_cannot_carry_is_refused),
	};

	log_init("test-agent-source", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
