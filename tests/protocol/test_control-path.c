/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime directory: where it is, and that it is the user's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/control-path.h"
#include "tests/support/scratch.h"

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void the_default_path_is_in_the_users_runtime_directory(void **state)
{
	char path[256], fallback[64];

	assert_int_equal(setenv("XDG_RUNTIME_DIR", scratch_path("."), 1), 0);
	assert_int_equal(control_path_default(path, sizeof(path), true), 0);
	assert_int_equal(mode_of(scratch_path("bindshare")), 0700);
	/* One that was made by hand is closed to others. */
	assert_int_equal(chmod(scratch_path("bindshare"), 0755), 0);
	assert_int_equal(control_path_default(path, sizeof(path), false), 0);
	assert_int_equal(mode_of(scratch_path("bindshare")), 0755);
	assert_int_equal(control_path_default(path, sizeof(path), true), 0);
	assert_int_equal(mode_of(scratch_path("bindshare")), 0700);
	assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
	(void) snprintf(fallback, sizeof(fallback), "/bindshare-%u/control.sock", (unsigned) geteuid());
	assert_int_equal(control_path_default(path, sizeof(path), false), 0);
	if (strncmp(path, "/run/user/", 10) != 0)
		assert_string_equal(path + strlen("/tmp"), fallback);
}

static void only_a_directory_of_ones_own_is_the_runtime_directory(void **state)
{
	char path[256];

	assert_int_equal(setenv("XDG_RUNTIME_DIR", scratch_path(""), 1), 0);
	assert_int_equal(mkdir(scratch_path("elsewhere"), 0755), 0);
	assert_int_equal(symlink("elsewhere", scratch_path("bindshare")), 0);
	assert_int_equal(control_path_default(path, sizeof(path), true), -EPERM);
	assert_int_equal(mode_of(scratch_path("elsewhere")), 0755);
	assert_int_equal(unlink(scratch_path("bindshare")), 0);
	(void) scratch_file("bindshare", "", 0644);
	assert_int_equal(control_path_default(path, sizeof(path), true), -EPERM);
	assert_int_equal(mode_of(scratch_path("bindshare")), 0644);
	if (geteuid() == 0) {
		assert_int_equal(unlink(scratch_path("bindshare")), 0);
		assert_int_equal(mkdir(scratch_path("bindshare"), 0755), 0);
		assert_int_equal(chown(scratch_path("bindshare"), 12345, 0), 0);
		assert_int_equal(control_path_default(path, sizeof(path), true), -EPERM);
		assert_int_equal(mode_of(scratch_path("bindshare")), 0755);
	}
}

static void a_socket_in_the_runtime_directory_finds_it_made(void **state)
{
	assert_int_equal(setenv("XDG_RUNTIME_DIR", scratch_path("."), 1), 0);
	assert_int_equal(control_path_make_directory(scratch_path("other/server.sock")), 0);
	assert_int_equal(control_path_make_directory(scratch_path("bindshare/below/server.sock")), 0);
	assert_int_equal(access(scratch_path("bindshare"), F_OK), -1);
	assert_int_equal(access(scratch_path("other"), F_OK), -1);
	assert_int_equal(control_path_make_directory(scratch_path("bindshare//server.sock")), 0);
	assert_int_equal(mode_of(scratch_path("bindshare")), 0700);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_default_path_is_in_the_users_runtime_directory),
		CASE(only_a_directory_of_ones_own_is_the_runtime_directory),
		CASE(a_socket_in_the_runtime_directory_finds_it_made),
	};

	return cmocka_run_group_tests_name("control-path", tests, NULL, NULL);
}
