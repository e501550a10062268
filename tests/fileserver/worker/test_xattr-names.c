/* SPDX-License-Identifier: Apache-2.0 */
/* Which extended attributes the guest sees and by what name, and that the server's own are nobody's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fileserver/worker/host/xattr-names.h"

/* An ordinary user's session; root's with real owners; root's without; an ordinary user's with real owners. */
static const struct session user = { .uid = 1000 };
static const struct session root_host = { .uid = 0, .config = { .flags = PROTO_HELLO_OWNER_HOST } };
static const struct session root_view = { .uid = 0 };
static const struct session user_host = { .uid = 1000, .config = { .flags = PROTO_HELLO_OWNER_HOST } };

static void only_root_that_shows_real_owners_keeps_records_to_itself(void **state)
{
	assert_true(xattr_names_are_roots(&root_host));
	assert_false(xattr_names_are_roots(&root_view));
	assert_false(xattr_names_are_roots(&user_host));
	assert_false(xattr_names_are_roots(&user));
}

/* The host's name must be this, and lead back. */
static void check_name(const struct session *session, const char *guest, const char *wanted)
{
	char host[PROTO_NAME_MAX + 1];

	assert_int_equal(xattr_names_host(session, guest, host), 0);
	assert_string_equal(host, wanted);
	assert_string_equal(xattr_names_guest(session, host), guest);
	assert_true(xattr_names_is_shown(session, host));
}

static void names_of_users_are_the_same_on_both_sides(void **state)
{
	check_name(&user, "user.a", "user.a");
	check_name(&root_host, "user.a", "user.a");
	check_name(&user, "user.bindshare", "user.bindshare");
	check_name(&user, "user.containers.override_stat2", "user.containers.override_stat2");
}

static void trusted_names_are_records_of_the_servers(void **state)
{
	const char *opaque = "trusted.overlay.opaque";

	check_name(&user, opaque, "user.bindshare.trusted.overlay.opaque");
	check_name(&root_view, opaque, "user.bindshare.trusted.overlay.opaque");
	check_name(&root_host, opaque, "trusted.bindshare.trusted.overlay.opaque");
	assert_true(xattr_names_is_trusted(opaque));
	assert_false(xattr_names_is_trusted("trusted."));
	assert_false(xattr_names_is_trusted("user.trusted.a"));
	/* What the other kind of server recorded is not shown. */
	assert_null(xattr_names_guest(&root_host, "user.bindshare.trusted.overlay.opaque"));
	assert_null(xattr_names_guest(&user, "trusted.bindshare.trusted.overlay.opaque"));
}

static void the_servers_own_are_neither_shown_nor_reached(void **state)
{
	static const char *const names[] = { XATTR_NAMES_OWNERSHIP, "user.bindshare.links", "user.bindshare.",
		                             "user.bindshare.trusted.overlay.opaque", "user.bindshare.trusted." };
	char host[PROTO_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(xattr_names_host(&user, names[i], host), -EPERM);
		assert_int_equal(xattr_names_host(&root_host, names[i], host), -EPERM);
	}
	assert_false(xattr_names_is_shown(&user, XATTR_NAMES_OWNERSHIP));
	assert_false(xattr_names_is_shown(&user, "user.bindshare.links"));
	assert_false(xattr_names_is_shown(&user, "user.bindshare.trusted."));
	assert_false(xattr_names_is_shown(&root_host, XATTR_NAMES_OWNERSHIP_ROOT));
}

static void what_belongs_to_the_hosts_kernel_is_not_offered(void **state)
{
	static const char *const names[] = {
		"security.selinux", "system.posix_acl_access", "trusted.", "user.", "usera", "", "btrfs.compression"
	};
	char host[PROTO_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(xattr_names_host(&user, names[i], host), -EOPNOTSUPP);
		assert_null(xattr_names_guest(&user, names[i]));
	}
	/* The host's trusted.* are not the guest's. */
	assert_null(xattr_names_guest(&root_host, "trusted.overlay.opaque"));
}

static void a_name_that_gets_too_long_for_the_host_is_out_of_range(void **state)
{
	char guest[PROTO_NAME_MAX + 1], host[PROTO_NAME_MAX + 1];

	memset(guest, 'x', PROTO_NAME_MAX);
	guest[PROTO_NAME_MAX] = '\0';
	memcpy(guest, "user.", 5);
	assert_int_equal(xattr_names_host(&user, guest, host), 0);
	assert_string_equal(host, guest);
	memcpy(guest, "trusted.", 8);
	assert_int_equal(xattr_names_host(&user, guest, host), -ERANGE);
	guest[PROTO_NAME_MAX - strlen(XATTR_NAMES_PREFIX) + 1] = '\0';
	assert_int_equal(xattr_names_host(&user, guest, host), -ERANGE);
	guest[PROTO_NAME_MAX - strlen(XATTR_NAMES_PREFIX)] = '\0';
	assert_int_equal(xattr_names_host(&user, guest, host), 0);
	assert_int_equal(strlen(host), PROTO_NAME_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_root_that_shows_real_owners_keeps_records_to_itself),
		cmocka_unit_test(names_of_users_are_the_same_on_both_sides),
		cmocka_unit_test(trusted_names_are_records_of_the_servers),
		cmocka_unit_test(the_servers_own_are_neither_shown_nor_reached),
		cmocka_unit_test(what_belongs_to_the_hosts_kernel_is_not_offered),
		cmocka_unit_test(a_name_that_gets_too_long_for_the_host_is_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
