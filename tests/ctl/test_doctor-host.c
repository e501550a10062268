/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says about the host, by facts and answers that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/doctor-host.h"
#include "protocol/document.h"
#include "tests/ctl/found.h"

static const struct facts_host sound = {
	.landlock_abi = 4,
	.user_namespaces_max = 1000,
	.userns_clone = -1,
	.apparmor_restricts_userns = -1,
	.inotify_watches_max = 8192,
	.vhost_vsock = true,
};
static struct findings findings;
static struct facts_host facts;
static json_t *status, *shares;
static unsigned long long files;

static int set_up(void **state)
{
	facts = sound;
	files = 65536;
	status = json_pack("{ss si ss si si s[s]}", "release", BINDSHARE_VERSION, "pid", 1, "sandbox", "full",
	                   "watched_directories", 7, "unwatched_directories", 0, "listen", "unix:/s");
	shares = json_pack("{s[{ssss}]}", "shares", "path", "/home/me", "state", "active");
	return 0;
}

static int tear_down(void **state)
{
	findings_done(&findings);
	json_decref(status);
	json_decref(shares);
	return 0;
}

static void check(void)
{
	const struct doctor_host_server server = { "/run/control.sock", status, shares, files };

	findings_done(&findings);
	doctor_host_check(&findings, &facts, &server);
}

/* Whether something was found, in words. */
static void assert_found(const char *name, const char *words)
{
	check();
	found_assert(&findings, name, words);
}

static void a_sound_host_has_no_word_of_advice(void **state)
{
	check();
	found_assert_sound(&findings, 8);
}

static void without_a_server_that_is_the_error_and_the_machine_is_looked_at_still(void **state)
{
	json_decref(status);
	status = NULL;
	check();
	assert_true(findings_have_error(&findings));
	assert_non_null(strstr(found(&findings, "server"), "error: no file server answers at /run/control.sock"));
	assert_non_null(strstr(found(&findings, "landlock"), "ok: "));
	assert_non_null(strstr(found(&findings, "vsock"), "ok: "));
	assert_string_equal(found(&findings, "share"), "");
	assert_string_equal(found(&findings, "sandbox"), "");
}

static void an_answer_without_a_release_is_no_server(void **state)
{
	(void) json_object_del(status, "release");
	assert_found("server", "error: no file server answers");
}

static void a_server_of_another_version_is_to_be_restarted(void **state)
{
	(void) json_object_set_new(status, "release", json_string("0.0.1"));
	assert_found("server", "warning: the server is bindshare 0.0.1");
}

static void each_state_of_a_share_has_its_advice(void **state)
{
	static const struct {
		const char *state, *words;
	} cases[] = {
		{ "missing", "warning: /home/me is missing / Make the directory, mount its file system, or run: "
		             "bindsharectl share rm /home/me" },
		{ "replaced",
		  "warning: /home/me is replaced / If what lies there now is right, run: bindsharectl share "
		  "add /home/me" },
		{ "unconfirmed", "warning: /home/me is unconfirmed / If what lies there is yours, run: bindsharectl "
		                 "share add /home/me" },
		{ "denied", "warning: /home/me is denied / Ask the administrator" },
		{ "active", "ok: /home/me is active" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_decref(shares);
		shares = json_pack("{s[{ssss}]}", "shares", "path", "/home/me", "state", cases[i].state);
		assert_found("share", cases[i].words);
	}
}

static void a_path_in_advice_is_what_a_shell_takes(void **state)
{
	static const char *const cases[][2] = {
		{ "/a b", "rm '/a b'" },           { "/it's", "rm '/it'\\''s'" },
		{ "/a;reboot", "rm '/a;reboot'" }, { "/a$(x)", "rm '/a$(x)'" },
		{ "/\xc3\xa4", "rm '/\xc3\xa4'" }, { "/a-b_c.d,e=f:g@h%i+j", "rm /a-b_c.d,e=f:g@h%i+j" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_decref(shares);
		shares = json_pack("{s[{ssss}]}", "shares", "path", cases[i][0], "state", "missing");
		assert_found("share", cases[i][1]);
	}
}

static void no_share_at_all_is_noted(void **state)
{
	json_decref(shares);
	shares = json_pack("{s[]}", "shares");
	assert_found("share", "note: no directory is shared / Run: bindsharectl share add DIR");
	json_decref(shares);
	shares = NULL; /* not answered: nothing is known of them */
	check();
	assert_string_equal(found(&findings, "share"), "");
}

static void broken_settings_and_policy_are_errors(void **state)
{
	(void) json_object_set_new(status, "settings", json_string("/home/me/settings.json"));
	assert_found("settings", "ok: /home/me/settings.json");
	assert_found("policy", "ok: none is used");
	(void) json_object_set_new(status, "settings_error", json_string("line 3"));
	(void) json_object_set_new(status, "policy_error", json_string("line 4"));
	assert_found("settings", "error: line 3 / Mend the file");
	assert_found("policy", "error: line 4");
}

static void what_steers_the_server_in_a_share_is_noted(void **state)
{
	(void) json_object_set_new(status, "protected",
	                           json_pack("[{ssssso}, {ssssss}]", "what", "log", "path", "/l", "share", json_null(),
	                                     "what", "settings file", "path", "/home/me/s.json", "share", "/home/me"));
	assert_found("protection",
	             "note: the server's settings file /home/me/s.json lies in the shared directory /home/me");
	assert_null(found_of(&findings, "protection", 1));
	(void) json_object_set_new(status, "changes_refused", json_integer(2));
	check();
	assert_non_null(found_of(&findings, "protection", 1));
}

static void why_a_mount_has_no_leases_is_told(void **state)
{
	static const char *const cases[][2] = {
		{ "no-marks",
		  "warning: /home/me has no more leases: the user's programs watch as much as they may / Raise "
		  "fs.fanotify.max_user_marks" },
		{ "no-watch", "note: /home/me has no leases: this machine has neither" },
		{ "file-system", "note: /home/me has no leases: others can write" },
		{ "behind", "warning: /home/me has no leases until the guest" },
		{ "given", "" },
		{ "not-asked", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void) json_object_set_new(status, "mounts",
		                           json_pack("[{ss s{ss}} {ss}]", "share", "/home/me", "leases", "state",
		                                     cases[i][0], "share", "/of/an/older/server"));
		assert_found("leases", cases[i][1]);
		assert_int_equal(found_of(&findings, "leases", 0) != NULL, cases[i][1][0] != '\0');
	}
}

static void few_files_are_warned_of(void **state)
{
	files = 1024;
	assert_found("files", "warning: only 1024 files");
	files = 4096;
	assert_found("files", "ok: 4096 files");
	files = 0;
	assert_found("files", "note: ");
}

static void directories_that_cannot_be_watched_are_warned_of(void **state)
{
	(void) json_object_set_new(status, "unwatched_directories", json_integer(3));
	assert_found("watches", "warning: 3 directories cannot be watched (limit 8192)");
}

static void what_confines_workers_is_told(void **state)
{
	facts.landlock_abi = -1;
	assert_found("landlock", "note: the kernel has no Landlock");
	facts.user_namespaces_max = 0;
	assert_found("namespaces", "note: users may not have namespaces");
	facts = sound;
	facts.userns_clone = 0;
	assert_found("namespaces", "note: users may not have namespaces");
	facts.userns_clone = 1;
	assert_found("namespaces", "ok: ");
	facts.apparmor_restricts_userns = 1;
	assert_found("namespaces", "note: AppArmor keeps users");
	assert_found("sandbox", "ok: workers run in the sandbox tier \"full\"");
}

static void missing_vsock_counts_more_when_the_server_listens_on_it(void **state)
{
	facts.vhost_vsock = false;
	assert_found("vsock", "note: ");
	(void) json_object_set_new(status, "listen", json_pack("[ss]", "unix:/s", "vsock:1024"));
	assert_found("vsock", "warning: ");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_sound_host_has_no_word_of_advice),
		CASE(without_a_server_that_is_the_error_and_the_machine_is_looked_at_still),
		CASE(an_answer_without_a_release_is_no_server),
		CASE(a_server_of_another_version_is_to_be_restarted),
		CASE(each_state_of_a_share_has_its_advice),
		CASE(a_path_in_advice_is_what_a_shell_takes),
		CASE(no_share_at_all_is_noted),
		CASE(broken_settings_and_policy_are_errors),
		CASE(what_steers_the_server_in_a_share_is_noted),
		CASE(why_a_mount_has_no_leases_is_told),
		CASE(few_files_are_warned_of),
		CASE(directories_that_cannot_be_watched_are_warned_of),
		CASE(what_confines_workers_is_told),
		CASE(missing_vsock_counts_more_when_the_server_listens_on_it),
	};

	return cmocka_run_group_tests_name("doctor-host", tests, NULL, NULL);
}
