/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines as people, fstab and mount(8) write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"

#define SOURCE "unix:/run/s:/home/me/a b,c"

static struct mount_options options;
static char error[512];

/* Words up to NULL. */
static int parse(const char *first, ...)
{
	char *argv[16] = { (char *) first };
	int argc = 1, r;
	va_list list;

	va_start(list, first);
	while ((argv[argc] = va_arg(list, char *)) != NULL)
		argc++;
	va_end(list);
	mount_options_done(&options);
	r = mount_options_parse(argc, argv, &options, error, sizeof(error));
	return r;
}

static int parse_list(const char *list)
{
	return parse("bindshare-mount", SOURCE, "/mnt", "-o", list, NULL);
}

static int clean(void **state)
{
	mount_options_done(&options);
	return 0;
}

static void what_is_not_said_has_the_defaults(void **state)
{
	assert_int_equal(parse("bindshare-mount", SOURCE, "/mnt", NULL), 0);
	assert_int_equal(options.action, MOUNT_OPTIONS_MOUNT);
	assert_string_equal(options.path, "/home/me/a b,c");
	assert_string_equal(options.address.path, "/run/s");
	assert_string_equal(options.mountpoint, "/mnt");
	assert_int_equal(options.attributes, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	assert_int_equal(options.timeout_s, MOUNT_OPTIONS_TIMEOUT_S);
	assert_int_equal(options.lanes, MOUNT_OPTIONS_LANES);
	assert_int_equal(options.uid, 0);
	assert_false(options.foreground || options.helper || options.read_only || options.permissions_host ||
	             options.owner_host || options.no_cache);
	assert_true(options.leases && options.uring);
}

static void every_own_option_is_taken(void **state)
{
	assert_int_equal(parse_list("token-file=/etc/t,ro,uid=1000,gid=100,permissions=host,owner=host,cache=none,"
	                            "fsname=name,timeout=5,lanes=8,io_uring=no"),
	                 0);
	assert_string_equal(options.token_file, "/etc/t");
	assert_string_equal(options.fsname, "name");
	assert_int_equal(options.uid, 1000);
	assert_int_equal(options.gid, 100);
	assert_int_equal(options.timeout_s, 5);
	assert_int_equal(options.lanes, 8);
	assert_true(options.read_only && options.permissions_host && options.owner_host && options.no_cache);
	assert_false(options.uring);
}

static void a_backslash_keeps_commas_in_values(void **state)
{
	assert_int_equal(parse_list("fsname=a\\,b\\\\c,token-file=/x\\y"), 0);
	assert_string_equal(options.fsname, "a,b\\c");
	assert_string_equal(options.token_file, "/x\\y");
}

static void mount_flags_are_attributes_of_the_mount(void **state)
{
	assert_int_equal(parse_list("suid,dev,noexec,noatime,nodiratime"), 0);
	assert_int_equal(options.attributes, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME);
	assert_int_equal(parse_list("noatime,strictatime,suid,nosuid,dev"), 0);
	assert_int_equal(options.attributes, MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_NOSUID);
	assert_int_equal(parse_list("ro,rw,sync,dirsync"), 0);
	assert_true(!options.read_only && options.sync && options.dirsync);
}

static void what_fstab_has_for_others_is_left_alone(void **state)
{
	assert_int_equal(parse_list("defaults,_netdev,noauto,nofail,x-systemd.automount,X-mount.mkdir=0755,comment=x,"
	                            ","),
	                 0);
}

static void mount_calls_its_helper_so(void **state)
{
	assert_int_equal(parse("/sbin/mount.fuse.bindshare", SOURCE, "/mnt", "-s", "-f", "-n", "-v", "-o", "rw", "-t",
	                       "fuse.bindshare", NULL),
	                 0);
	assert_true(options.helper && options.fake && options.verbose && !options.foreground);
	assert_int_equal(parse("bindshare-mount", "-f", SOURCE, "/mnt", NULL), 0);
	assert_true(options.foreground && !options.fake && !options.helper);
}

static void bad_options_are_named(void **state)
{
	static const char *const lists[] = { "nonsense",  "nonsense=1", "uid=",        "uid=-1",   "uid=4294967295",
		                             "gid=1x",    "timeout=0",  "lanes=1",     "lanes=65", "permissions=both",
		                             "cache=yes", "owner=",     "token-file=", "user",     "remount" };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char name[32];

		(void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(lists[i], "="), lists[i]);
		assert_int_equal(parse_list(lists[i]), -EINVAL);
		assert_non_null(strstr(error, name));
	}
}

static void words_that_are_missing_or_too_many_are_refused(void **state)
{
	assert_int_equal(parse("bindshare-mount", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", SOURCE, NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", SOURCE, "/mnt", "/more", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", "/home/me", "/mnt", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", "unix:run/s:/home/me", "/mnt", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", "", "/mnt", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", SOURCE, "/mnt", "-o", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", SOURCE, "/mnt", "--json", NULL), -EINVAL);
	assert_int_equal(parse("bindshare-mount", SOURCE, "/mnt", "--nonsense", NULL), -EINVAL);
	assert_non_null(strstr(error, "--nonsense"));
	assert_int_equal(parse("bindshare-mount", "--stats", NULL), -EINVAL);
}

static void statistics_need_a_mountpoint_only(void **state)
{
	assert_int_equal(parse("bindshare-mount", "--stats", "/mnt", "--json", NULL), 0);
	assert_int_equal(options.action, MOUNT_OPTIONS_STATS);
	assert_true(options.json);
	assert_string_equal(options.mountpoint, "/mnt");
	assert_int_equal(parse("bindshare-mount", "--help", NULL), 0);
	assert_int_equal(options.action, MOUNT_OPTIONS_HELP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_not_said_has_the_defaults, clean),
		cmocka_unit_test_teardown(every_own_option_is_taken, clean),
		cmocka_unit_test_teardown(a_backslash_keeps_commas_in_values, clean),
		cmocka_unit_test_teardown(mount_flags_are_attributes_of_the_mount, clean),
		cmocka_unit_test_teardown(what_fstab_has_for_others_is_left_alone, clean),
		cmocka_unit_test_teardown(mount_calls_its_helper_so, clean),
		cmocka_unit_test_teardown(bad_options_are_named, clean),
		cmocka_unit_test_teardown(words_that_are_missing_or_too_many_are_refused, clean),
		cmocka_unit_test_teardown(statistics_need_a_mountpoint_only, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
