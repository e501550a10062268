/* SPDX-License-Identifier: Apache-2.0 */
/* What paths come to: two shares whose mounts are directories of the test, links in them, the guest's own paths. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/binds/decide.h"
#include "tests/support/scratch.h"

static char *own[] = { (char *) "/run", (char *) "/var/run", (char *) "/var/lib/docker", NULL };
static const struct guest_config config = { .guest_paths = own };
/* On the host: /home/me and, by a link of the user's, /home/me/proj at /data/proj; /run/user/7/share is a share. */
static struct binds_share shares[3];
static struct binds_table table = { .known = true, .shares = shares, .count = 3 };
static struct binds_decision decision;

static void link_to(const char *target, const char *name)
{
	assert_int_equal(symlink(target, scratch_path(name)), 0);
}

static int set_up(void **state)
{
	(void) scratch_make();
	for (unsigned i = 0; i < 3; i++) {
		static const char *const mounts[] = { "me", "proj", "user" };

		shares[i] =
		        (struct binds_share){ .mount = strdup(scratch_directory(mounts[i])), .state = BINDS_MOUNTED };
	}
	shares[0].path = shares[0].canonical = (char *) "/home/me";
	shares[1].path = (char *) "/home/me/proj";
	shares[1].canonical = (char *) "/data/proj";
	shares[2].path = shares[2].canonical = (char *) "/run/user/7/share";
	(void) scratch_directory("me/dir");
	(void) scratch_directory("me/dir/deep");
	(void) scratch_directory("proj/src");
	(void) scratch_directory("user/x");
	(void) scratch_file("me/file", "", 0644);
	link_to("dir/deep", "me/in");
	link_to("../me/dir", "me/around");
	link_to("/home/me/dir", "me/absolute");
	link_to("/data/proj/src", "me/other");
	link_to("/etc", "me/out");
	link_to("/var/lib/docker", "me/guest");
	link_to("../../../../etc/passwd", "me/above");
	link_to("loop", "me/loop");
	link_to("none", "me/dangling");
	return 0;
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		free(shares[i].mount);
	scratch_remove();
	return 0;
}

static void decide(const char *source, const char *resolved, bool create)
{
	const struct binds_question question = { source, resolved, create };

	binds_decide(&config, &table, &question, &decision);
}

static void is_share(const char *source, unsigned share, const char *rest, enum binds_kind kind)
{
	decide(source, "", false);
	if (decision.verdict != BINDS_SHARE)
		fail_msg("%s: verdict %d, %s", source, decision.verdict, decision.text);
	assert_ptr_equal(decision.share, &shares[share]);
	assert_string_equal(decision.rest, rest);
	assert_int_equal(decision.kind, kind);
}

static void is_refused(const char *source, const char *code, const char *words)
{
	decide(source, "", false);
	if (decision.verdict != BINDS_REFUSED)
		fail_msg("%s: verdict %d", source, decision.verdict);
	assert_string_equal(decision.code, code);
	assert_memory_equal(decision.text, "Mounts denied: ", 15);
	if (strstr(decision.text, words) == NULL)
		fail_msg("\"%s\" without \"%s\"", decision.text, words);
}

static void the_longest_share_is_found(void **state)
{
	is_share("/home/me", 0, "", BINDS_DIRECTORY);
	is_share("/home/me/dir", 0, "dir", BINDS_DIRECTORY);
	is_share("/home/me/file", 0, "file", BINDS_FILE);
	is_share("/home/me/proj", 1, "", BINDS_DIRECTORY);
	is_share("/home/me/proj/src", 1, "src", BINDS_DIRECTORY);
	is_share("/data/proj/src", 1, "src", BINDS_DIRECTORY);
	is_share("//home/./me//dir/../dir/", 0, "dir", BINDS_DIRECTORY);
	is_refused("/home/me2", "not-shared", "The path /home/me2 is not shared from the host and is not known to");
	is_refused("/home/me2", "not-shared", "bindsharectl share add /home/me2");
	is_refused("/home", "not-shared", "/home is not shared");
	is_refused("/", "not-shared", "The path / is");
	is_refused("relative", "not-absolute", "relative is not absolute");
	is_refused("", "not-absolute", "not absolute");
}

static void links_are_the_hosts(void **state)
{
	is_share("/home/me/in", 0, "dir/deep", BINDS_DIRECTORY);
	is_share("/home/me/around/deep", 0, "dir/deep", BINDS_DIRECTORY);
	is_share("/home/me/absolute", 0, "dir", BINDS_DIRECTORY);
	is_share("/home/me/other", 1, "src", BINDS_DIRECTORY);
	is_refused("/home/me/out", "leads-out", "leads by a symbolic link to /etc, which is not shared");
	is_refused("/home/me/out/passwd", "leads-out", "/etc/passwd");
	is_refused("/home/me/guest", "leads-out", "/var/lib/docker");
	is_refused("/home/me/above", "leads-out", "/etc/passwd");
	is_refused("/home/me/loop", "leads-out", "too many symbolic links");
	is_refused("/home/me/dangling", "missing", "does not exist on the host");
}

static void the_guests_own_is_left_alone(void **state)
{
	static const char *const paths[] = { "/run",
		                             "/run/docker.sock",
		                             "/var/run/docker.sock",
		                             "/run/user/7",
		                             "/var/lib/docker/volumes/x/_data",
		                             "/var/lib/../lib/docker" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		decide(paths[i], NULL, false);
		assert_int_equal(decision.verdict, BINDS_OWN);
		assert_true(binds_is_own(&config, paths[i]));
	}
	is_share("/run/user/7/share/x", 2, "x", BINDS_DIRECTORY);
	assert_false(binds_is_own(&config, "/running"));
	assert_false(binds_is_own(&config, "run"));
	assert_false(binds_is_own(&config, "/var/lib/docker/../../../etc"));
}

static void what_is_missing_can_be_made_where_that_is_asked_for(void **state)
{
	decide("/home/me/new/dir", "", true);
	assert_int_equal(decision.verdict, BINDS_SHARE);
	assert_int_equal(decision.kind, BINDS_TO_BE_MADE);
	is_refused("/home/me/new/dir", "missing", "/home/me/new/dir does not exist on the host");
	is_refused("/home/me/file/x", "missing", "does not exist");
	shares[0].read_only = true;
	decide("/home/me/new", "", true);
	assert_int_equal(decision.verdict, BINDS_REFUSED);
	shares[0].read_only = false;
}

static void sockets_are_refused_with_advice(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, scratch_path("me/socket"));
	assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(mkfifo(scratch_path("me/fifo"), 0600), 0);
	is_refused("/home/me/socket", "socket", "is a socket of the host");
	is_refused("/home/me/fifo", "special", "neither a directory nor a regular file");
	is_refused("/tmp/ssh-AbCd/agent.123", "not-shared", "SSH agent is not supported yet");
	is_refused("/tmp/.X11-unix/X0", "not-shared", "Displays of the host are not supported yet");
	is_refused("/var/tmp/app.sock", "not-shared", "Sockets of the host are not supported yet");
	is_refused("/home/you/.docker/docker.sock", "not-shared", "/var/run/docker.sock");
}

/* An engine would make an empty directory of it. */
static void sockets_that_the_guest_does_not_have_are_refused(void **state)
{
	static const char *const paths[] = { "/run/host-services/ssh-auth.sock", "/var/run/host-services/ssh-auth.sock",
		                             "/run/user/4242/keyring/ssh", "/run/user/4242/gnupg/S.gpg-agent.ssh",
		                             "/run/user/4242/ssh-agent.socket" };
	char *mine[] = { strdup(scratch_path("")), (char *) "/run", NULL };
	const struct guest_config other = { .guest_paths = mine };
	struct binds_question question = { strdup(scratch_path("app.sock")), NULL, true };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		is_refused(paths[i], "socket", "SSH agent is not supported yet");
	is_refused("/run/user/4242/bus", "socket", "Sockets of the host are not supported yet");
	/* One that is there is the guest's own; a directory in its place is none. */
	mine[0][strlen(mine[0]) - 1] = '\0';
	binds_decide(&other, &table, &question, &decision);
	assert_int_equal(decision.verdict, BINDS_REFUSED);
	(void) scratch_directory("app.sock");
	binds_decide(&other, &table, &question, &decision);
	assert_int_equal(decision.verdict, BINDS_REFUSED);
	assert_int_equal(rmdir(question.source), 0);
	strcpy(address.sun_path, question.source);
	assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	close(fd);
	binds_decide(&other, &table, &question, &decision);
	assert_int_equal(decision.verdict, BINDS_OWN);
	free(mine[0]);
	free((char *) question.source);
}

static void what_is_not_there_yet_is_waited_for(void **state)
{
	shares[0].state = BINDS_PENDING;
	decide("/home/me/dir", NULL, false);
	assert_int_equal(decision.verdict, BINDS_WAIT);
	assert_string_equal(decision.code, "not-mounted");
	shares[0].state = BINDS_FAILED;
	shares[0].error = (char *) "no such token";
	decide("/home/me/dir", NULL, false);
	assert_int_equal(decision.verdict, BINDS_WAIT);
	assert_non_null(strstr(decision.text, "no such token"));
	shares[0].error = NULL;
	shares[0].state = BINDS_MISSING;
	is_refused("/home/me/dir", "missing", "The shared directory /home/me");
	shares[0].state = BINDS_REPLACED;
	is_refused("/home/me/dir", "not-mounted", "Another directory lies at /home/me");
	table.known = false;
	decide("/home/you", NULL, false);
	assert_int_equal(decision.verdict, BINDS_WAIT);
	assert_string_equal(decision.code, "unknown-yet");
	decide("/run/docker.sock", NULL, false);
	assert_int_equal(decision.verdict, BINDS_OWN);
	table.known = true;
}

static void the_server_is_asked_about_what_lies_outside(void **state)
{
	decide("/var/home/me/dir", NULL, false);
	assert_int_equal(decision.verdict, BINDS_RESOLVE);
	assert_string_equal(decision.path, "/var/home/me/dir");
	decide("/var/home/me/dir", "/home/me/dir", false);
	assert_int_equal(decision.verdict, BINDS_SHARE);
	assert_string_equal(decision.rest, "dir");
	/* Whatever the server says, it does not make something of the guest's. */
	decide("/var/home/me/dir", "/var/lib/docker", false);
	assert_int_equal(decision.verdict, BINDS_REFUSED);
	assert_string_equal(decision.code, "not-shared");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_longest_share_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(links_are_the_hosts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_guests_own_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_missing_can_be_made_where_that_is_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sockets_are_refused_with_advice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sockets_that_the_guest_does_not_have_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_there_yet_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_server_is_asked_about_what_lies_outside, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
