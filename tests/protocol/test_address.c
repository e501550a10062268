/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: what is one, the source of a mount, and sockets that listen and connect. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/address.h"
#include "protocol/cleanup.h"

static char directory[64];

static int make_directory(void **state)
{
	strcpy(directory, "/tmp/bindshare-address-XXXXXX");
	return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
	char path[128];

	(void) snprintf(path, sizeof(path), "%s/socket", directory);
	(void) unlink(path);
	return rmdir(directory);
}

static struct proto_address parsed(const char *text)
{
	struct proto_address address;
	char error[512] = "", again[160];

	if (proto_address_parse(text, &address, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	proto_address_format(&address, again, sizeof(again));
	assert_string_equal(again, text);
	return address;
}

static void refused(const char *text, const char *words)
{
	struct proto_address address;
	char error[512] = "";

	assert_int_equal(proto_address_parse(text, &address, error, sizeof(error)), -EINVAL);
	if (strstr(error, words) == NULL)
		fail_msg("%s: said \"%s\" without \"%s\"", text, error, words);
}

static void a_vsock_address_has_a_port_and_may_have_a_cid(void **state)
{
	struct proto_address address = parsed("vsock:1024");

	assert_int_equal(address.kind, PROTO_ADDRESS_VSOCK);
	assert_int_equal(address.cid, VMADDR_CID_ANY);
	assert_int_equal(address.port, 1024);
	address = parsed("vsock:2:4294967294");
	assert_int_equal(address.cid, 2);
	assert_int_equal(address.port, 4294967294u);
	assert_false(address.hybrid);
}

static void a_unix_address_is_hybrid_when_a_port_stands_behind_an_underscore(void **state)
{
	struct proto_address address = parsed("unix:/run/user/1000/bindshare.sock");

	assert_int_equal(address.kind, PROTO_ADDRESS_UNIX);
	assert_string_equal(address.path, "/run/user/1000/bindshare.sock");
	assert_false(address.hybrid);
	address = parsed("unix:/run/vm_1/v.sock_1024");
	assert_true(address.hybrid);
	assert_int_equal(address.port, 1024);
	assert_false(parsed("unix:/run/a_b").hybrid);
	assert_false(parsed("unix:/run/a_0").hybrid);
	assert_false(parsed("unix:/run/a_01").hybrid);
	assert_false(parsed("unix:/run/a_").hybrid);
	assert_false(parsed("unix:/run/a_4294967295").hybrid);
	assert_false(parsed("unix:/run/1_2/a").hybrid);
}

static void what_is_no_address_is_refused_with_words(void **state)
{
	char longest[200] = "unix:/";

	refused("", "is no address");
	refused("tcp:1", "is no address");
	refused("/run/socket", "is no address");
	refused("vsock:", "port");
	refused("vsock:0", "port");
	refused("vsock:4294967295", "port");
	refused("vsock:4294967296", "port");
	refused("vsock:99999999999999999999", "port");
	refused("vsock:01", "port");
	refused("vsock:-1", "port");
	refused("vsock:+1", "port");
	refused("vsock: 1", "port");
	refused("vsock:2:", "port");
	refused("vsock::1", "CID");
	refused("vsock:x:1", "CID");
	refused("vsock:4294967295:1", "CID");
	refused("vsock:2:1:3", "port");
	refused("unix:", "no socket's path");
	refused("unix:/run/", "no socket's path");
	memset(longest + 6, 'a', 107);
	refused(longest, "108 bytes");
	longest[112] = '\0';
	(void) parsed(longest);
}

static void source_is(const char *text, const char *address_text, const char *share_text)
{
	struct proto_address address;
	const char *share;
	char error[512] = "", again[160];

	if (proto_address_split_source(text, &address, &share, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	proto_address_format(&address, again, sizeof(again));
	assert_string_equal(again, address_text);
	assert_string_equal(share, share_text);
}

static void the_source_of_a_mount_is_an_address_and_a_path(void **state)
{
	struct proto_address address;
	const char *share;
	char error[512];

	source_is("vsock:2:1024:/home/me", "vsock:2:1024", "/home/me");
	source_is("vsock:2:1024:/home/a:/b", "vsock:2:1024", "/home/a:/b");
	source_is("vsock:2:1024:/", "vsock:2:1024", "/");
	source_is("unix:/run/s:/home/me", "unix:/run/s", "/home/me");
	source_is("unix:/run/a:b/s_5:/home/a:b", "unix:/run/a:b/s_5", "/home/a:b");
	assert_int_equal(proto_address_split_source("unix:/run/s", &address, &share, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "names no directory"));
	assert_int_equal(proto_address_split_source("vsock:2:1024", &address, &share, error, sizeof(error)), -EINVAL);
	assert_int_equal(proto_address_split_source("vsock:2:1024:home", &address, &share, error, sizeof(error)),
	                 -EINVAL);
	assert_int_equal(proto_address_split_source("unix::/home", &address, &share, error, sizeof(error)), -EINVAL);
	assert_int_equal(proto_address_split_source("nfs:/home", &address, &share, error, sizeof(error)), -EINVAL);
}

static struct proto_address in_directory(void)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };

	(void) snprintf(address.path, sizeof(address.path), "%s/socket", directory);
	return address;
}

static void a_unix_socket_is_the_owners_alone_and_carries_bytes(void **state)
{
	struct proto_address address = in_directory();
	int listener = proto_address_listen(&address, 1), client, server;
	struct stat st;
	char byte;

	assert_true(listener >= 0);
	assert_int_equal(stat(address.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true((fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(listener, F_GETFD) & FD_CLOEXEC) != 0);
	client = proto_address_connect(&address, 1000);
	assert_true(client >= 0);
	assert_true((fcntl(client, F_GETFL) & O_NONBLOCK) == 0);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(server, &byte, 1), 1);
	close_fd(client);
	close_fd(server);
	close_fd(listener);
}

static void a_socket_left_over_is_replaced_and_one_in_use_is_not(void **state)
{
	struct proto_address address = in_directory();
	int first = proto_address_listen(&address, 1), file;

	assert_true(first >= 0);
	assert_int_equal(proto_address_listen(&address, 1), -EADDRINUSE);
	close_fd(first);
	assert_int_equal(proto_address_connect(&address, 1000), -ECONNREFUSED);
	first = proto_address_listen(&address, 1);
	assert_true(first >= 0);
	close_fd(first);
	assert_int_equal(unlink(address.path), 0);
	assert_int_equal(proto_address_connect(&address, 1000), -ENOENT);
	file = open(address.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	close_fd(file);
	assert_int_equal(proto_address_listen(&address, 1), -EADDRINUSE);
	assert_int_equal(access(address.path, F_OK), 0);
}

static void a_connection_that_nobody_accepts_times_out(void **state)
{
	struct proto_address address = in_directory();
	int listener = proto_address_listen(&address, 0), waiting[8], last = 0;
	unsigned count = 0;

	assert_true(listener >= 0);
	while (count < ARRAY_SIZE(waiting) && last >= 0) {
		last = proto_address_connect(&address, 50);
		if (last >= 0)
			waiting[count++] = last;
	}
	assert_int_equal(last, -ETIMEDOUT);
	while (count > 0)
		close_fd(waiting[--count]);
	close_fd(listener);
}

static void a_vsock_listener_binds_its_port_once(void **state)
{
	struct proto_address address = parsed("vsock:52341");
	int first = proto_address_listen(&address, 1);

	if (first == -EAFNOSUPPORT || first == -EADDRNOTAVAIL || first == -ENODEV || first == -EPERM) {
		print_message("# no AF_VSOCK here: %s\n", strerror(-first));
		skip();
	}
	assert_true(first >= 0);
	assert_int_equal(proto_address_listen(&address, 1), -EADDRINUSE);
	close_fd(first);
}

static void a_vsock_connection_to_nobody_ends_in_time(void **state)
{
	/* CID 1 is this machine itself. */
	struct proto_address address = parsed("vsock:1:52342");
	int r = proto_address_connect(&address, 500);

	if (r == -EAFNOSUPPORT) {
		print_message("# no AF_VSOCK here\n");
		skip();
	}
	assert_true(r < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vsock_address_has_a_port_and_may_have_a_cid),
		cmocka_unit_test(a_unix_address_is_hybrid_when_a_port_stands_behind_an_underscore),
		cmocka_unit_test(what_is_no_address_is_refused_with_words),
		cmocka_unit_test(the_source_of_a_mount_is_an_address_and_a_path),
		cmocka_unit_test_setup_teardown(a_unix_socket_is_the_owners_alone_and_carries_bytes, make_directory,
		                                remove_directory),
		cmocka_unit_test_setup_teardown(a_socket_left_over_is_replaced_and_one_in_use_is_not, make_directory,
		                                remove_directory),
		cmocka_unit_test_setup_teardown(a_connection_that_nobody_accepts_times_out, make_directory,
		                                remove_directory),
		cmocka_unit_test(a_vsock_listener_binds_its_port_once),
		cmocka_unit_test(a_vsock_connection_to_nobody_ends_in_time),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
