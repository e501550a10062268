/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's configuration: defaults, every key, and each thing that is wrong with one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/binds/config.h"
#include "tests/support/scratch.h"

static struct guest_config config;
static char error[1024];

static int read_text(const char *text)
{
	return guest_config_read(scratch_file("guest.json", text, 0600), &config, error, sizeof(error));
}

static void little_is_enough(void **state)
{
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];

	assert_int_equal(read_text("{\"address\": \"vsock:2:7000\"}"), 0);
	assert_int_equal(config.address.cid, 2);
	assert_string_equal(config.root, "/host_mnt");
	assert_string_equal(config.run_directory, "/run/bindshare");
	assert_string_equal(config.plugin_socket, "/run/docker/plugins/bindshare.sock");
	assert_true(config.identical_paths);
	assert_null(config.token_file);
	assert_null(config.runtime);
	assert_int_equal(config.wait_ms, 10000);
	assert_int_equal(guest_config_socket(&config, path, error, sizeof(error)), 0);
	assert_string_equal(path, "/run/bindshare/guestd.sock");
	guest_config_done(&config);
}

static void every_key_counts(void **state)
{
	assert_int_equal(read_text("{\"address\": \"unix:/run/s\", \"tokenFile\": \"/etc//token\", \"root\": \"/mnt/\","
	                           "\"identicalPaths\": false, \"guestPaths\": [\"/a\", \"/b/\"],"
	                           "\"runtime\": \"/usr/bin/crun\", \"waitSeconds\": 0.5, \"runDirectory\": \"/r\","
	                           "\"pluginSocket\": null, \"mountOptions\": \"lanes=4\"}"),
	                 0);
	assert_string_equal(config.token_file, "/etc/token");
	assert_string_equal(config.root, "/mnt");
	assert_false(config.identical_paths);
	assert_string_equal(config.guest_paths[1], "/b");
	assert_null(config.guest_paths[2]);
	assert_string_equal(config.runtime, "/usr/bin/crun");
	assert_int_equal(config.wait_ms, 500);
	assert_null(config.plugin_socket);
	assert_string_equal(config.mount_options, "lanes=4");
	guest_config_done(&config);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "{}", "there is no \"address\"" },
		{ "{\"address\": \"2:7000\"}", "\"address\" must be" },
		{ "{\"address\": 7}", "\"address\" must be" },
		{ "{\"adress\": \"vsock:2:7000\"}", "unknown key \"adress\"" },
		{ "{\"address\": \"vsock:2:1\", \"root\": \"/\"}", "\"root\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"root\": \"mnt\"}", "\"root\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"guestPaths\": \"/a\"}", "\"guestPaths\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"guestPaths\": [\"a\"]}", "\"guestPaths\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"waitSeconds\": -1}", "\"waitSeconds\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"waitSeconds\": \"1\"}", "\"waitSeconds\" must be" },
		{ "{\"address\": \"vsock:2:1\", \"identicalPaths\": 1}", "true or false" },
		{ "{\"address\": \"vsock:2:1\", \"pluginSocket\": 1}", "or null" },
		{ "{\"address\": \"vsock:2:1\", \"tokenFile\": \"a\\u0000b\"}", "" },
		{ "{\"address\": \"vsock:2:1\", \"address\": \"vsock:2:2\"}", "duplicate" },
		{ "{\"address\": \"vsock", "line 1" },
		{ "[]", "not a JSON object" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_text(cases[i].text), -EINVAL);
		if (strstr(error, cases[i].words) == NULL)
			fail_msg("%s: \"%s\" without \"%s\"", cases[i].text, error, cases[i].words);
	}
}

static void others_may_not_have_written_it(void **state)
{
	const char *path = scratch_file("open.json", "{\"address\": \"vsock:2:7000\"}", 0666);

	assert_int_equal(guest_config_read(path, &config, error, sizeof(error)), -EPERM);
	assert_non_null(strstr(error, "chmod go-w"));
	assert_int_equal(guest_config_read(scratch_path("none"), &config, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "cannot open the guest configuration"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_is_enough),
		cmocka_unit_test(every_key_counts),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(others_may_not_have_written_it),
	};

	return cmocka_run_group_tests_name("config", tests, scratch_set_up, scratch_tear_down);
}
