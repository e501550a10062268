/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what it comes to, and what is refused as EX_USAGE. */
#include <getopt.h>
#include <linux/vm_sockets.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "fileserver/broker/options.h"

static struct options options;

/* Parses a line of words; they are cut out of a copy, since options keep pointers into it. */
static int parse(const char *line)
{
	static char copy[1024];
	char *argv[64] = { "bindshare-fileserver" };
	int argc = 1;

	assert_true(strlen(line) < sizeof(copy));
	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
		argv[argc++] = word;
	optind = 0;
	return options_parse(argc, argv, &options);
}

static void an_ordinary_line_is_taken(void **state)
{
	assert_int_equal(parse("--listen unix:/run/s --share /a --share /b:ro -s /c:rw --settings f --token-file t "
	                       "--control c --allow-root --ready-fd 7 --log-level debug --log-format json --log-file l "
	                       "--admin-settings a"),
	                 -1);
	assert_string_equal(options.listen.path, "/run/s");
	assert_int_equal(options.share_count, 3);
	assert_string_equal(options.shares[0].path, "/a");
	assert_false(options.shares[0].read_only);
	assert_string_equal(options.shares[1].path, "/b");
	assert_true(options.shares[1].read_only);
	assert_string_equal(options.shares[2].path, "/c");
	assert_false(options.shares[2].read_only);
	assert_true(options.allow_root);
	assert_int_equal(options.ready_fd, 7);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	assert_string_equal(options.log_file, "l");
	assert_string_equal(options.admin_settings, "a");
	assert_string_equal(options.settings, "f");
	assert_string_equal(options.token_file, "t");
	assert_string_equal(options.control, "c");
}

static void limits_have_defaults_and_can_be_set(void **state)
{
	assert_int_equal(parse("--listen unix:/run/s"), -1);
	assert_int_equal(options.limits.lanes_max, 64);
	assert_int_equal(options.limits.nodes_max, 1000000);
	assert_int_equal(options.limits.watches_max, 0);
	assert_int_equal(options.limits.heartbeat_ms, 60000);
	assert_int_equal(options.limits.stall_ms, 30000);
	assert_int_equal(options.limits.disk_reserve, 1 << 30);
	assert_in_range(options.limits.descriptors_max, 16, 65536);
	assert_int_equal(parse("--listen unix:/run/s --lanes 3 --nodes 100 --watches 8 --heartbeat 200 --stall 300 "
	                       "--descriptors 20 "
	                       "--disk-reserve 0"),
	                 -1);
	assert_int_equal(options.limits.lanes_max, 3);
	assert_int_equal(options.limits.nodes_max, 100);
	assert_int_equal(options.limits.watches_max, 8);
	assert_int_equal(options.limits.heartbeat_ms, 200);
	assert_int_equal(options.limits.stall_ms, 300);
	assert_int_equal(options.limits.descriptors_max, 20);
	assert_int_equal(options.limits.disk_reserve, 0);
}

static void a_vsock_listener_needs_a_token_and_cids(void **state)
{
	assert_int_equal(parse("--listen vsock:1024 --token-file t --trust-cid 3 --trust-cid 4"), -1);
	assert_int_equal(options.listen.cid, VMADDR_CID_ANY);
	assert_int_equal(options.cid_count, 2);
	assert_int_equal(options.cids[1], 4);
	assert_int_equal(parse("--listen vsock:1024 --trust-cid 3"), EX_USAGE);
	assert_int_equal(parse("--listen vsock:1024 --token-file t"), EX_USAGE);
	assert_int_equal(parse("--listen vsock:2:1024 --token-file t --trust-cid 3"), EX_USAGE);
}

static void a_hybrid_listener_needs_a_token(void **state)
{
	assert_int_equal(parse("--listen unix:/run/v_1024 --token-file t"), -1);
	assert_int_equal(parse("--listen unix:/run/v_1024"), EX_USAGE);
}

static void bad_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"--listen",
		"--listen tcp:1",
		"--listen unix:/a --listen unix:/b",
		"--listen unix:/a --nonsense",
		"--listen unix:/a word",
		"--listen unix:/a --lanes 0",
		"--listen unix:/a --lanes 65",
		"--listen unix:/a --lanes -1",
		"--listen unix:/a --lanes 1x",
		"--listen unix:/a --heartbeat 99999999999999999999",
		"--listen unix:/a --ready-fd x",
		"--listen unix:/a --log-level loud",
		"--listen unix:/a --trust-cid 4294967295",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (parse(lines[i]) != EX_USAGE)
			fail_msg("\"%s\" was taken", lines[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_line_is_taken),
		cmocka_unit_test(limits_have_defaults_and_can_be_set),
		cmocka_unit_test(a_vsock_listener_needs_a_token_and_cids),
		cmocka_unit_test(a_hybrid_listener_needs_a_token),
		cmocka_unit_test(bad_lines_are_refused),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
