/* SPDX-License-Identifier: Apache-2.0 */
/* Where and how a share is to be mounted, before anything is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/mountpoint.h"
#include "protocol/cleanup.h"

static struct guest_config config;
static struct mountpoint mountpoint, other;

static int set_up(void **state)
{
	assert_int_equal(guest_config_default(&config), 0);
	mountpoint = other = (struct mountpoint){ .fd = -EBADF };
	return 0;
}

static int tear_down(void **state)
{
	mountpoint_done(&mountpoint);
	mountpoint_done(&other);
	guest_config_done(&config);
	return 0;
}

static void set(struct mountpoint *one, const char *path, uint32_t flags)
{
	const struct share_list_entry share = { (char *) path, (char *) path, PROTO_SHARE_SERVED, flags };

	assert_int_equal(mountpoint_set(one, &config, "vsock:2:1024", "/host_mnt", &share), 0);
}

static void a_share_lies_beneath_the_root_at_its_path(void **state)
{
	set(&mountpoint, "/home/me", 0);
	assert_string_equal(mountpoint.mount, "/host_mnt/home/me");
	assert_string_equal(mountpoint.source, "vsock:2:1024:/home/me");
	assert_string_equal(mountpoint.path, "/home/me");
	set(&mountpoint, "/", 0);
	assert_string_equal(mountpoint.mount, "/host_mnt");
	assert_string_equal(mountpoint.source, "vsock:2:1024:/");
}

static void its_flags_and_the_configuration_become_options(void **state)
{
	set(&mountpoint, "/a", 0);
	assert_string_equal(mountpoint.options, "");
	set(&mountpoint, "/a",
	    PROTO_SHARE_READ_ONLY | PROTO_SHARE_OWNER_HOST | PROTO_SHARE_PERMISSIONS_HOST | PROTO_SHARE_CACHE_NONE);
	assert_string_equal(mountpoint.options, ",ro,owner=host,permissions=host,cache=none");
	config.token_file = strdup("/etc/token");
	free(config.mount_options);
	config.mount_options = strdup("lanes=2");
	set(&mountpoint, "/a", PROTO_SHARE_READ_ONLY);
	assert_string_equal(mountpoint.options, "token-file=/etc/token,ro,lanes=2");
}

static void each_way_to_mount_has_a_fifo_of_its_own(void **state)
{
	const struct share_list_entry share = { (char *) "/a", (char *) "/a", PROTO_SHARE_SERVED, 0 };

	set(&mountpoint, "/a", 0);
	set(&other, "/a", 0);
	assert_string_equal(mountpoint.alive, other.alive);
	assert_string_equal(mountpoint.apart, other.apart);
	assert_string_not_equal(mountpoint.alive, mountpoint.apart);
	assert_non_null(strstr(mountpoint.alive, "/alive/"));
	set(&other, "/a", PROTO_SHARE_READ_ONLY);
	assert_string_not_equal(mountpoint.alive, other.alive);
	set(&other, "/b", 0);
	assert_string_not_equal(mountpoint.alive, other.alive);
	assert_int_equal(mountpoint_set(&other, &config, "vsock:2:1025", "/host_mnt", &share), 0);
	assert_string_not_equal(mountpoint.alive, other.alive);
	assert_int_equal(mountpoint_set(&other, &config, "vsock:2:1024", "/elsewhere", &share), 0);
	assert_string_equal(mountpoint.alive, other.alive); /* where it lies is not how it is mounted */
}

static void what_was_made_is_kept_when_it_is_set_again(void **state)
{
	set(&mountpoint, "/a", 0);
	mountpoint.made.paths[mountpoint.made.count++] = strdup("/host_mnt/a");
	mountpoint.identical = mountpoint.is_apart = true;
	set(&mountpoint, "/a", PROTO_SHARE_READ_ONLY);
	assert_int_equal(mountpoint.made.count, 1);
	assert_string_equal(mountpoint.made.paths[0], "/host_mnt/a");
	assert_int_equal(mountpoint.fd, -EBADF);
	assert_false(mountpoint.identical || mountpoint.is_apart);
}

static void a_fifo_tells_whether_somebody_writes(void **state)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(mountpoint_is_alive(ends[0]));
	close_fd(ends[1]);
	assert_false(mountpoint_is_alive(ends[0]));
	close_fd(ends[0]);
	assert_false(mountpoint_is_alive(-EBADF));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_share_lies_beneath_the_root_at_its_path), CASE(its_flags_and_the_configuration_become_options),
		CASE(each_way_to_mount_has_a_fifo_of_its_own),   CASE(what_was_made_is_kept_when_it_is_set_again),
		CASE(a_fifo_tells_whether_somebody_writes),
	};

	return cmocka_run_group_tests_name("mountpoint", tests, NULL, NULL);
}
