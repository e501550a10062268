/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager is told, at a path or an abstract name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/notify.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static void told_at(const char *name, const struct sockaddr_un *address, size_t length)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64] = "";

	assert_int_equal(bind(fd, (const struct sockaddr *) address,
	                      (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)),
	                 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 7);
	assert_string_equal(text, "READY=1");
}

static void the_manager_is_told_at_either_kind_of_address(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[64];

	strcpy(address.sun_path, scratch_path("notify"));
	told_at(scratch_path("notify"), &address, strlen(address.sun_path));
	(void) snprintf(name, sizeof(name), "@bindshare-test-%d", (int) getpid());
	strcpy(address.sun_path, name);
	address.sun_path[0] = '\0';
	told_at(name, &address, strlen(name));
}

static void without_a_manager_nothing_is_wrong(void **state)
{
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", "vsock:2:1", 1), 0);
	assert_int_equal(notify_send("READY=1"), -EAFNOSUPPORT);
	assert_int_equal(setenv("NOTIFY_SOCKET", scratch_path("none"), 1), 0);
	assert_int_equal(notify_send("READY=1"), -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_manager_is_told_at_either_kind_of_address),
		CASE(without_a_manager_nothing_is_wrong),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
