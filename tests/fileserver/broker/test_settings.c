/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file: both spellings, malformed ones, and files that others could have written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/settings.h"
#include "tests/support/scratch.h"

static struct settings read_text(const char *text)
{
	struct settings settings;
	char error[512] = "";

	if (settings_read(scratch_file("settings", text, 0600), &settings, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	return settings;
}

/* What is read in part, and what is told of the rest. */
static struct settings read_in_part(const char *text, const char *words)
{
	struct settings settings;
	char error[2048] = "";

	assert_int_equal(settings_read(scratch_file("part", text, 0600), &settings, error, sizeof(error)), 0);
	if (words == NULL ? error[0] != '\0' : strstr(error, words) == NULL)
		fail_msg("said \"%s\", not \"%s\"", error, words == NULL ? "" : words);
	return settings;
}

static void refused(const char *path, int expected, const char *words)
{
	struct settings settings;
	char error[512] = "";

	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), expected);
	if (strstr(error, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", error, words);
}

static void the_list_of_directories_is_read(void **state)
{
	struct settings settings =
	        read_text("{\"other\": 1, \"FilesharingDirectories\": [\"/home\", \"/srv/\\u00e4\"]}");

	assert_int_equal(settings.count, 2);
	assert_string_equal(settings.directories[0].path, "/home");
	assert_string_equal(settings.directories[1].path, "/srv/\xc3\xa4");
	settings_done(&settings);
	settings_done(&settings);
}

static void the_older_spelling_counts_where_the_newer_is_missing(void **state)
{
	struct settings settings = read_text("{\"filesharingDirectories\": [\"/old\"]}");

	assert_string_equal(settings.directories[0].path, "/old");
	settings_done(&settings);
	settings = read_text("{\"filesharingDirectories\": [\"/old\"], \"FilesharingDirectories\": [\"/new\"]}");
	assert_int_equal(settings.count, 1);
	assert_string_equal(settings.directories[0].path, "/new");
	settings_done(&settings);
}

static void without_the_list_nothing_is_shared(void **state)
{
	struct settings settings = read_text("{}");

	assert_int_equal(settings.count, 0);
	settings_done(&settings);
}

static void malformed_settings_are_refused_with_line_and_column(void **state)
{
	refused(scratch_file("bad", "{\n\"FilesharingDirectories\": [\"/a\",,]\n}", 0600), -EINVAL, "line 2, column");
	refused(scratch_file("bad", "", 0600), -EINVAL, "line 1");
	refused(scratch_file("bad", "{\"FilesharingDirectories\": [\"/a\"", 0600), -EINVAL, "line 1");
	refused(scratch_file("bad", "[]", 0600), -EINVAL, "not a JSON object");
	refused(scratch_file("bad", "{\"FilesharingDirectories\": \"/a\"}", 0600), -EINVAL, "not a list");
	refused(scratch_file("bad", "{\"FilesharingDirectories\": [\"/a\\u0000b\"]}", 0600), -EINVAL, "line 1");
	refused(scratch_file("bad", "{\"FilesharingDirectories\":[],\"FilesharingDirectories\":[]}", 0600), -EINVAL,
	        "line 1");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
	refused(scratch_file("open", "{}", 0660), -EPERM, "chmod go-w");
	refused(scratch_file("open", "{}", 0602), -EPERM, "chmod go-w");
	if (geteuid() == 0) {
		assert_int_equal(chown(scratch_file("foreign", "{}", 0644), 12345, 0), 0);
		refused(scratch_path("foreign"), -EPERM, "belongs to user 12345");
	}
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
	assert_int_equal(symlink(scratch_file("real", "{}", 0600), scratch_path("link")), 0);
	refused(scratch_path("link"), -EPERM, "symbolic link");
	assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
	refused(scratch_path("fifo"), -EPERM, "not a regular file");
	refused(scratch_directory("directory"), -EPERM, "not a regular file");
	refused(scratch_path("missing"), -ENOENT, "cannot open");
}

static void own_keys_say_more_of_a_directory_on_the_list(void **state)
{
	struct settings settings =
	        read_text("{\"FilesharingDirectories\": [\"/a/\", \"/b\"], \"bindshare\": {\"permissions\": \"host\","
	                  " \"shares\": {\"/a\": {\"readOnly\": true, \"cache\": \"none\"}, \"/c\": {\"owner\": "
	                  "\"host\", \"cache\": \"timeout\"}}}}");

	assert_int_equal(settings.count, 2);
	assert_true(settings.directories[0].read_only);
	assert_false(settings.directories[1].read_only);
	assert_string_equal(settings.directories[0].mount.cache, "none");
	assert_string_equal(settings.directories[1].mount.permissions, "host");
	assert_null(settings.directories[1].mount.cache);
	assert_null(settings.directories[0].mount.owner);
	settings_done(&settings);
}

#define OWN(text) scratch_file("bad", "{\"FilesharingDirectories\": [\"/a\"], \"bindshare\": " text "}", 0600)

static void own_keys_that_make_no_sense_are_refused(void **state)
{
	refused(OWN("[]"), -EINVAL, "bindshare is not an object");
	refused(OWN("{\"readOnly\": true}"), -EINVAL, "no key \"readOnly\"");
	refused(OWN("{\"owner\": \"root\"}"), -EINVAL, "owner is not \"view\" or \"host\"");
	refused(OWN("{\"shares\": 1}"), -EINVAL, "shares is not an object");
}

static void a_bad_entry_is_told_by_its_text_and_the_rest_counts(void **state)
{
	struct settings settings;

	assert_int_equal(setenv("HOME", "/home/me", 1), 0);
	settings = read_in_part("{\"FilesharingDirectories\": [\"/a\", 7, \"rel/ative\", \"/x/../y\", \"$WHO/x\","
	                        " \"~you/x\", null, \"/b\"]}",
	                        "entry 2 of FilesharingDirectories, 7, is not an absolute path");
	assert_int_equal(settings.count, 2);
	assert_string_equal(settings.directories[0].path, "/a");
	assert_string_equal(settings.directories[1].path, "/b");
	settings_done(&settings);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const bad[] = { "\"rel/ative\"", "\"/x/../y\"", "\"$WHO/x\"", "\"~you/x\"" };
		char text[256];

		(void) snprintf(text, sizeof(text), "{\"FilesharingDirectories\": [%s, \"/b\"]}", bad[i]);
		settings = read_in_part(text, bad[i]);
		assert_int_equal(settings.count, 1);
		settings_done(&settings);
	}
	/* Without a home, or with one that is no path, "~" must not come to "". */
	assert_int_equal(setenv("HOME", "", 1), 0);
	settings = read_in_part("{\"FilesharingDirectories\": [\"~/etc\", \"$HOME/etc\", \"~\"]}", "\"~/etc\"");
	assert_int_equal(settings.count, 0);
	assert_true(settings.has_list);
	settings_done(&settings);
}

static void a_misspelt_key_of_one_directory_makes_it_read_only(void **state)
{
	static const char *const bad[][2] = {
		{ "{\"readonly\": true}", "no key \"readonly\"" },
		{ "{\"readOnly\": \"no\"}", "readOnly is not true or false" },
		{ "{\"readOnly\": false, \"cache\": \"x\"}", "cache is not \"auto\" or \"timeout\" or \"none\"" },
		{ "true", "not an object" },
	};
	struct settings settings;
	char text[256];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void) snprintf(
		        text, sizeof(text),
		        "{\"FilesharingDirectories\": [\"/a\", \"/b\"], \"bindshare\": {\"shares\": {\"/a/\": %s}}}",
		        bad[i][0]);
		settings = read_in_part(text, bad[i][1]);
		assert_int_equal(settings.count, 2);
		assert_true(settings.directories[0].read_only);
		assert_false(settings.directories[1].read_only);
		settings_done(&settings);
	}
	/* Also where it counts for nothing. */
	settings = read_in_part("{\"FilesharingDirectories\": [\"/a\"], \"bindshare\": {\"shares\": {\"/b\": 1, "
	                        "\"c\": {}}}}",
	                        "\"/b\": what it is to be like is not an object");
	assert_false(settings.directories[0].read_only);
	settings_done(&settings);
}

static void home_and_tmp_are_understood(void **state)
{
	const struct settings none = { 0 };
	struct settings settings;
	const char *path;
	char error[512];

	assert_int_equal(setenv("HOME", "/home/me", 1), 0);
	assert_int_equal(unsetenv("TMPDIR"), 0);
	settings =
	        read_in_part("{\"FilesharingDirectories\": [\"~\", \"~/a\", \"$HOME/b/\", \"${HOME}/c\", \"$TMP/d\"],"
	                     " \"bindshare\": {\"shares\": {\"$HOME/a\": {\"readOnly\": true}}}}",
	                     NULL);
	assert_int_equal(settings.count, 5);
	assert_string_equal(settings.directories[0].path, "/home/me");
	assert_string_equal(settings.directories[1].path, "/home/me/a");
	assert_string_equal(settings.directories[2].path, "/home/me/b");
	assert_string_equal(settings.directories[3].path, "/home/me/c");
	assert_string_equal(settings.directories[4].path, "/tmp/d");
	assert_true(settings.directories[1].read_only);
	assert_false(settings.directories[0].read_only);
	settings_done(&settings);
	/* Such an entry is found when it is to be removed. */
	path = scratch_file("home", "{\"FilesharingDirectories\": [\"~/a\", 7]}", 0600);
	assert_int_equal(settings_remove(path, "/home/me/a", &none, error, sizeof(error)), 0);
	assert_int_equal(settings_add(path, "/b", false, &none, error, sizeof(error)), 0);
	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), 0);
	assert_int_equal(settings.count, 1);
	assert_non_null(strstr(error, "entry 1 of FilesharingDirectories, 7,"));
	settings_done(&settings);
}

static void keys_count_in_another_case(void **state)
{
	const struct settings none = { 0 };
	struct settings settings = read_in_part("{\"FileSharingDirectories\": [\"/a\"], \"BindShare\": {\"shares\": "
	                                        "{\"/a\": {\"readOnly\": true}}}}",
	                                        NULL);
	const char *path;
	char error[512];

	assert_true(settings.has_list);
	assert_int_equal(settings.count, 1);
	assert_true(settings.directories[0].read_only);
	settings_done(&settings);
	/* One that counts, and one that does not: which is told. */
	settings = read_in_part("{\"filesharingdirectories\": [\"/a\"], \"FilesharingDirectories\": [\"/b\"]}",
	                        "filesharingdirectories counts for nothing beside FilesharingDirectories");
	assert_int_equal(settings.count, 1);
	assert_string_equal(settings.directories[0].path, "/b");
	settings_done(&settings);
	refused(scratch_file("bad", "{\"filesharingdirectories\": [\"/a\"], \"FILESHARINGDIRECTORIES\": [\"/b\"]}",
	                     0600),
	        -EINVAL, "both filesharingdirectories and FILESHARINGDIRECTORIES");
	/* A change goes into the list that counts. */
	path = scratch_file("cased", "{\"FILEsharingDirectories\": [\"/a\"]}", 0600);
	assert_int_equal(settings_add(path, "/b", false, &none, error, sizeof(error)), 0);
	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), 0);
	assert_int_equal(settings.count, 2);
	settings_done(&settings);
}

static void the_way_to_a_new_file_is_made_for_its_user_alone(void **state)
{
	struct stat st;

	assert_int_equal(settings_make_directory(scratch_path("a/b/file")), 0);
	assert_int_equal(stat(scratch_path("a/b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(access(scratch_path("a/b/file"), F_OK), -1);
	(void) scratch_file("a/file", "", 0600);
	assert_int_equal(settings_make_directory(scratch_path("a/file/b/c")), -ENOTDIR);
}

static void changes_leave_the_rest_of_the_file_as_it_is(void **state)
{
	const struct settings none = { 0 };
	const char *path =
	        scratch_file("kept", "{\"z\": [1], \"filesharingDirectories\": [\"/a\"], \"a\": null}", 0640);
	char error[512];
	struct settings settings;
	struct stat st;

	assert_int_equal(settings_add(path, "/b", true, &none, error, sizeof(error)), 0);
	assert_int_equal(settings_add(path, "/a", true, &none, error, sizeof(error)), 0);
	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), 0);
	assert_int_equal(settings.count, 2);
	assert_true(settings.directories[0].read_only && settings.directories[1].read_only);
	settings_done(&settings);
	assert_int_equal(settings_remove(path, "/b", &none, error, sizeof(error)), 0);
	assert_int_equal(settings_remove(path, "/b", &none, error, sizeof(error)), -ENOENT);
	assert_int_equal(settings_add(path, "/a", false, &none, error, sizeof(error)), 0);
	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), 0);
	assert_int_equal(settings.count, 1);
	assert_false(settings.directories[0].read_only);
	settings_done(&settings);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void a_list_is_made_where_there_is_none(void **state)
{
	struct settings_directory first = { .path = "/default" };
	const struct settings defaults = { .directories = &first, .count = 1 };
	const char *path = scratch_path("fresh");
	char error[512];
	struct settings settings;

	assert_int_equal(settings_add(path, "/b", false, &defaults, error, sizeof(error)), 0);
	assert_int_equal(settings_read(path, &settings, error, sizeof(error)), 0);
	assert_int_equal(settings.count, 2);
	assert_string_equal(settings.directories[0].path, "/default");
	settings_done(&settings);
	assert_int_equal(settings_add(path, "/\xff", false, &defaults, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "UTF-8"));
	assert_int_equal(settings_add(scratch_file("bad", "{", 0600), "/b", false, &defaults, error, sizeof(error)),
	                 -EINVAL);
}

static void the_default_file_is_docker_desktops(void **state)
{
	char path[256];

	assert_int_equal(setenv("HOME", "/home/me", 1), 0);
	assert_int_equal(settings_default_path(path, sizeof(path)), 0);
	assert_string_equal(path, "/home/me/.docker/desktop/settings-store.json");
	assert_int_equal(settings_default_path(path, 10), -ENAMETOOLONG);
	assert_int_equal(unsetenv("HOME"), 0);
	assert_int_equal(settings_default_path(path, sizeof(path)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_of_directories_is_read),
		cmocka_unit_test(the_older_spelling_counts_where_the_newer_is_missing),
		cmocka_unit_test(without_the_list_nothing_is_shared),
		cmocka_unit_test(malformed_settings_are_refused_with_line_and_column),
		cmocka_unit_test(a_file_that_others_may_write_is_refused),
		cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
		cmocka_unit_test(own_keys_say_more_of_a_directory_on_the_list),
		cmocka_unit_test(own_keys_that_make_no_sense_are_refused),
		cmocka_unit_test(a_bad_entry_is_told_by_its_text_and_the_rest_counts),
		cmocka_unit_test(a_misspelt_key_of_one_directory_makes_it_read_only),
		cmocka_unit_test(home_and_tmp_are_understood),
		cmocka_unit_test(keys_count_in_another_case),
		cmocka_unit_test(the_way_to_a_new_file_is_made_for_its_user_alone),
		cmocka_unit_test(changes_leave_the_rest_of_the_file_as_it_is),
		cmocka_unit_test(a_list_is_made_where_there_is_none),
		cmocka_unit_test(the_default_file_is_docker_desktops),
	};

	return cmocka_run_group_tests_name("settings", tests, scratch_set_up, scratch_tear_down);
}
