/* SPDX-License-Identifier: Apache-2.0 */
/* Where a share is never mounted at its own path, whatever the guest has there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/agent/identical.h"
#include "protocol/cleanup.h"

static void places_of_the_guest_are_never_covered(void **state)
{
	static const char *const never[] = {
		"/",
		"/root",
		"/root/.ssh",
		"/root/src",
		"/etc/cron.d",
		"/etc/systemd/system",
		"/run",
		"/run/systemd/system",
		"/usr/lib/systemd/system",
		"/usr/local/bin",
		"/usr",
		"/var",
		"/var/lib/cloud",
		"/var/lib/docker/volumes",
		"/var/spool/cron",
		"/var/tmp",
		"/tmp",
		"/tmp/.X11-unix",
		"/home/me/.ssh",
		"/home/me/.config/systemd/user",
		"/bin",
		"/boot/grub",
		"/lib/modules",
		"/dev/shm",
		"/proc",
		"/host_mnt",
		"/host_mnt/home",
		"/own/place/deep",
		"/own/place",
		"/own",
	};
	static const char *const may[] = {
		"/home/me",       "/home",         "/home/me/src", "/Users/me",    "/private/tmp", "/tmp/work",
		"/var/folders/x", "/var/www/html", "/srv",         "/srv/data",    "/opt/tools",   "/mnt/data",
		"/media/me/usb",  "/etcetera",     "/rooted",      "/runner/work", "/var/libs",    "/own/other",
		"/data",          "/var/tmp/x",    "/home/me/a.b",
	};
	struct guest_config config = { 0 };

	assert_int_equal(guest_config_default(&config), 0);
	free(config.guest_paths[0]);
	config.guest_paths[0] = strdup("/own/place");
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (identical_is_allowed(&config, never[i]))
			fail_msg("%s is covered", never[i]);
	for (size_t i = 0; i < ARRAY_SIZE(may); i++)
		if (!identical_is_allowed(&config, may[i]))
			fail_msg("%s is not mounted", may[i]);
	guest_config_done(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_of_the_guest_are_never_covered),
	};

	return cmocka_run_group_tests_name("identical", tests, NULL, NULL);
}
