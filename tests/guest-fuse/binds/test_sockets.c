/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the host that people bind, known by their names. */
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

#include <cmocka.h>

#include "guest-fuse/binds/sockets.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static void each_kind_of_socket_has_its_advice(void **state)
{
	static const char *const cases[][2] = {
		{ "/var/run/docker.sock", "engine's socket is the guest's own" },
		{ "/run/user/1000/docker.sock", "engine's socket is the guest's own" },
		{ "/tmp/ssh-XXXX/agent.123", "SSH agent" },
		{ "/run/user/1000/keyring/ssh", "SSH agent" },
		{ "/home/me/.gnupg/S.gpg-agent.ssh", "SSH agent" },
		{ "/home/me/.gnupg/S.gpg-agent", "Sockets of the host" },
		{ "/tmp/.X11-unix/X0", "Displays" },
		{ "/run/user/1000/wayland-0", "Displays" },
		{ "/var/run/postgresql/.s.PGSQL.5432", "Sockets of the host" },
		{ "/run/host-services/ssh-auth.sock", "SSH agent" },
		{ "/anywhere/my.sock", "Sockets of the host" },
		{ "/anywhere/my.socket", "Sockets of the host" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *advice = sockets_advice(cases[i][0]);

		if (advice == NULL || strstr(advice, cases[i][1]) == NULL)
			fail_msg("%s: %s", cases[i][0], advice != NULL ? advice : "none");
		assert_int_equal(advice[0], ' ');
	}
}

static void what_has_no_such_name_is_no_socket(void **state)
{
	static const char *const paths[] = {
		"/", "/home/me", "/home/me/sock", "/a/docker.sock.d", "/run/user/1000", "/home/me/wayland-x"
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_null(sockets_advice(paths[i]));
}

static void one_is_missing_where_nothing_or_a_directory_is(void **state)
{
	assert_true(sockets_is_missing(scratch_path("a.sock")));
	assert_true(sockets_is_missing(scratch_path("none/a.sock")));
	assert_int_equal(mkdir(scratch_path("b.sock"), 0755), 0);
	assert_true(sockets_is_missing(scratch_path("b.sock"))); /* an engine made that of it */
	(void) scratch_file("c.sock", "", 0600);
	assert_false(sockets_is_missing(scratch_path("c.sock")));
	assert_false(sockets_is_missing(scratch_path("docker.sock"))); /* may come with the engine */
	assert_false(sockets_is_missing(scratch_path("no-socket")));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_socket_has_its_advice),
		cmocka_unit_test(what_has_no_such_name_is_no_socket),
		CASE(one_is_missing_where_nothing_or_a_directory_is),
	};

	return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
