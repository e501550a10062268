/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's requests with every allocation of the client's failing once, and with answers that the kernel does not
 * take: one answer each, the right error, and neither side keeps a reference or an open file. The server is a
 * real one, the kernel a socket pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/kernel/lowlevel.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/parts.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "tests/support/served.h"

/* STATX of Linux 6.6: not in older headers. */
enum { OP_STATX = 52, TAKEN_BACK = 1, ORDINARY_USER = 65534 };

static struct served *served;
static char control_directory[] = "/tmp/bindshare-control-XXXXXX", control[64];

struct mounted {
	struct served_session session;
	struct mount_options options;
	struct proto_token token;
	struct client *client;
	struct thread thread;
	int kernel; /* where answers arrive */
	uint64_t unique;
	uint8_t answer[PROTO_DATA_MAX + 4096];
	size_t size; /* of the answer's payload */
	uint64_t file, directory, file_handle, directory_handle;
	uint64_t got_node, got_handle;
	bool got_directory;
};

static void arm(const char *rules)
{
	char error[256];

	if (faults_arm(rules, error, sizeof(error)) < 0)
		fail_msg("%s", error);
}

/* One request. 0 or a negative errno of the answer, or TAKEN_BACK when there is none. */
static int ask(struct mounted *mounted, uint32_t opcode, uint64_t node, const void *first, size_t first_size,
               const char *second, size_t second_size)
{
	struct request *request = &mounted->thread.request;
	struct fuse_in_header in = { .opcode = opcode, .unique = ++mounted->unique, .nodeid = node };
	struct fuse_out_header out;
	ssize_t n;

	in.len = (uint32_t) (sizeof(in) + first_size + second_size);
	memcpy(request->buffer, &in, sizeof(in));
	memcpy(request->buffer + sizeof(in), first, first_size);
	if (second_size > 0)
		memcpy(request->buffer + sizeof(in) + first_size, second, second_size);
	request->size = in.len;
	lowlevel_serve(&mounted->thread);
	n = recv(mounted->kernel, mounted->answer, sizeof(mounted->answer), MSG_DONTWAIT);
	if (n < 0)
		return TAKEN_BACK;
	assert_true((size_t) n >= sizeof(out));
	memcpy(&out, mounted->answer, sizeof(out));
	assert_int_equal(out.unique, in.unique);
	assert_int_equal(out.len, n);
	mounted->size = (size_t) n - sizeof(out);
	memmove(mounted->answer, mounted->answer + sizeof(out), mounted->size);
	/* No second answer. */
	assert_true(recv(mounted->kernel, &out, sizeof(out), MSG_DONTWAIT) < 0);
	return out.error;
}

static int ask_name(struct mounted *mounted, uint32_t opcode, const void *first, size_t size, const char *name)
{
	return ask(mounted, opcode, FUSE_ROOT_ID, first, size, name, strlen(name) + 1);
}

/* An answer with an entry, and behind it an open file when opened. */
static int take_entry(struct mounted *mounted, int result, bool opened)
{
	struct fuse_entry_out entry;
	struct fuse_open_out open;

	if (result != 0)
		return result;
	assert_int_equal(mounted->size, sizeof(entry) + (opened ? sizeof(open) : 0));
	memcpy(&entry, mounted->answer, sizeof(entry));
	mounted->got_node = entry.nodeid;
	if (opened) {
		memcpy(&open, mounted->answer + sizeof(entry), sizeof(open));
		mounted->got_handle = open.fh;
	}
	return 0;
}

static int take_open(struct mounted *mounted, int result, bool directory)
{
	struct fuse_open_out open;

	if (result != 0)
		return result;
	assert_int_equal(mounted->size, sizeof(open));
	memcpy(&open, mounted->answer, sizeof(open));
	mounted->got_handle = open.fh;
	mounted->got_directory = directory;
	return 0;
}

static void forget(struct mounted *mounted, uint64_t node, uint64_t lookups)
{
	struct fuse_forget_in in = { .nlookup = lookups };

	assert_int_equal(ask(mounted, FUSE_FORGET, node, &in, sizeof(in), NULL, 0), TAKEN_BACK);
}

static void release(struct mounted *mounted, uint64_t node, uint64_t handle, bool directory)
{
	struct fuse_release_in in = { .fh = handle };

	assert_int_equal(ask(mounted, directory ? FUSE_RELEASEDIR : FUSE_RELEASE, node, &in, sizeof(in), NULL, 0), 0);
}

/* The operations. */

static int look_up(struct mounted *mounted)
{
	return take_entry(mounted, ask_name(mounted, FUSE_LOOKUP, "", 0, "other"), false);
}

static int make_node(struct mounted *mounted)
{
	struct fuse_mknod_in in = { .mode = S_IFREG | 0644 };

	return take_entry(mounted, ask_name(mounted, FUSE_MKNOD, &in, sizeof(in), "new"), false);
}

static int make_directory(struct mounted *mounted)
{
	struct fuse_mkdir_in in = { .mode = 0755 };

	return take_entry(mounted, ask_name(mounted, FUSE_MKDIR, &in, sizeof(in), "new"), false);
}

static int make_symlink(struct mounted *mounted)
{
	return take_entry(mounted, ask(mounted, FUSE_SYMLINK, FUSE_ROOT_ID, "new", 4, "target", 7), false);
}

static int link_name(struct mounted *mounted)
{
	struct fuse_link_in in = { .oldnodeid = mounted->file };

	return take_entry(mounted, ask_name(mounted, FUSE_LINK, &in, sizeof(in), "new"), false);
}

static int create(struct mounted *mounted)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644 };

	return take_entry(mounted, ask_name(mounted, FUSE_CREATE, &in, sizeof(in), "new"), true);
}

static int create_unnamed(struct mounted *mounted)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0644 };

	return take_entry(mounted, ask_name(mounted, FUSE_TMPFILE, &in, sizeof(in), "/"), true);
}

static int open_file(struct mounted *mounted)
{
	struct fuse_open_in in = { .flags = O_RDWR };

	return take_open(mounted, ask(mounted, FUSE_OPEN, mounted->file, &in, sizeof(in), NULL, 0), false);
}

static int open_directory(struct mounted *mounted)
{
	struct fuse_open_in in = { .flags = O_RDONLY };

	return take_open(mounted, ask(mounted, FUSE_OPENDIR, mounted->directory, &in, sizeof(in), NULL, 0), true);
}

static int list_plus(struct mounted *mounted)
{
	struct fuse_read_in in = { .fh = mounted->directory_handle, .size = 65536 };
	int r = ask(mounted, FUSE_READDIRPLUS, mounted->directory, &in, sizeof(in), NULL, 0);
	size_t at = 0;

	if (r != 0)
		return r;
	/* As the kernel does: what it makes no use of it forgets. */
	_cleanup_free_ uint8_t *entries = malloc(mounted->size + 1);
	size_t size = mounted->size;

	memcpy(entries, mounted->answer, size);
	assert_true(size > 0);
	while (at < size) {
		struct fuse_direntplus entry;

		memcpy(&entry, entries + at, FUSE_NAME_OFFSET_DIRENTPLUS);
		at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
		if (entry.entry_out.nodeid != 0)
			forget(mounted, entry.entry_out.nodeid, 1);
	}
	return 0;
}

static int list_plain(struct mounted *mounted)
{
	struct fuse_read_in in = { .fh = mounted->directory_handle, .size = 65536 };

	return ask(mounted, FUSE_READDIR, mounted->directory, &in, sizeof(in), NULL, 0);
}

static int read_data(struct mounted *mounted)
{
	struct fuse_read_in in = { .fh = mounted->file_handle, .size = 4096 };

	return ask(mounted, FUSE_READ, mounted->file, &in, sizeof(in), NULL, 0);
}

static int write_data(struct mounted *mounted)
{
	struct fuse_write_in in = { .fh = mounted->file_handle, .size = 3, .flags = O_RDWR };

	return ask(mounted, FUSE_WRITE, mounted->file, &in, sizeof(in), "abc", 3);
}

static int status(struct mounted *mounted)
{
	struct {
		uint32_t flags, reserved;
		uint64_t fh;
		uint32_t sx_flags, sx_mask;
	} in = { .flags = FUSE_GETATTR_FH, .fh = mounted->file_handle, .sx_mask = STATX_BASIC_STATS };

	return ask(mounted, OP_STATX, mounted->file, &in, sizeof(in), NULL, 0);
}

static int sync_all(struct mounted *mounted)
{
	struct fuse_syncfs_in in = { .padding = 0 };

	return ask(mounted, FUSE_SYNCFS, FUSE_ROOT_ID, &in, sizeof(in), NULL, 0);
}

static int remove_name(struct mounted *mounted)
{
	return ask_name(mounted, FUSE_UNLINK, "", 0, "other");
}

#define OPERATION(function)                                                                                            \
	{                                                                                                              \
#function, function                                                                                    \
	}

static const struct operation {
	const char *name;
	int (*run)(struct mounted *mounted);
} operations[] = {
	OPERATION(look_up),   OPERATION(make_node),      OPERATION(make_directory), OPERATION(make_symlink),
	OPERATION(link_name), OPERATION(create),         OPERATION(create_unnamed), OPERATION(open_file),
	OPERATION(list_plus), OPERATION(open_directory), OPERATION(list_plain),     OPERATION(read_data),
	OPERATION(status),    OPERATION(write_data),     OPERATION(sync_all),       OPERATION(remove_name),
};

/* On the host, as the serving user's. */
static void host_write(const char *name, const char *content)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", served->share, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	assert_true(geteuid() != 0 || fchown(fd, ORDINARY_USER, ORDINARY_USER) == 0);
	close(fd);
}

static void host_fill(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/new", served->share);
	(void) remove(path);
	snprintf(path, sizeof(path), "%s/directory", served->share);
	if (mkdir(path, 0755) == 0)
		assert_true(geteuid() != 0 || chown(path, ORDINARY_USER, ORDINARY_USER) == 0);
	host_write("file", "content");
	host_write("other", "more");
	host_write("directory/inside", "deep");
	host_write("directory/next", "deeper");
}

static bool is_made(const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", served->share, name);
	return lstat(path, &st) == 0;
}

/* What the server keeps for the only mount: {"nodes": ..., "handles": ...} of its status. */
static void held(int *ret_nodes, int *ret_handles)
{
	char command[512], answer[8192] = "";
	const char *nodes, *handles;
	FILE *pipe;

	snprintf(command, sizeof(command), "%s status --json --control %s", getenv("BINDSHARE_CTL"), control);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	assert_true(fread(answer, 1, sizeof(answer) - 1, pipe) > 0);
	assert_int_equal(pclose(pipe), 0);
	nodes = strstr(answer, "\"nodes\":");
	handles = strstr(answer, "\"handles\":");
	assert_non_null(nodes);
	assert_non_null(handles);
	*ret_nodes = atoi(nodes + strlen("\"nodes\":"));
	*ret_handles = atoi(handles + strlen("\"handles\":"));
}

static void set_up_client(struct mounted *mounted)
{
	struct fuse_init_in init = { .major = FUSE_KERNEL_VERSION,
		                     .minor = FUSE_KERNEL_MINOR_VERSION,
		                     .max_readahead = 65536,
		                     .flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES };
	struct thread *thread = &mounted->thread;
	struct client *client = parts_new(&mounted->options, &mounted->token);
	int fds[2];

	assert_non_null(client);
	mounted->client = client;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	client->device = thread->device = fds[0];
	mounted->kernel = fds[1];
	client->server->welcome = (struct proto_proof_reply){ .session = mounted->session.session,
		                                              .block_size = 4096,
		                                              .root.node = mounted->session.root };
	assert_int_equal(parts_complete(client), 0);
	thread->client = client;
	connection_init(&thread->connection, client->server);
	thread->connection.channel = mounted->session.raw.channel;
	thread->connection.connected = true;
	assert_int_equal(request_init(&thread->request, thread->device, &thread->connection), 0);
	pending_add(client->pending, &thread->request);
	assert_int_equal(lowlevel_new(client), 0);
	thread_set_current(thread);
	assert_int_equal(ask(mounted, FUSE_INIT, 0, &init, sizeof(init), NULL, 0), 0);
}

static struct mounted *mounted_new(void)
{
	struct mounted *mounted = calloc(1, sizeof(*mounted));

	arm("");
	host_fill();
	assert_int_equal(served_session(served, served->share, &mounted->session, NULL), 0);
	set_up_client(mounted);
	assert_int_equal(take_entry(mounted, ask_name(mounted, FUSE_LOOKUP, "", 0, "file"), false), 0);
	mounted->file = mounted->got_node;
	assert_int_equal(take_entry(mounted, ask_name(mounted, FUSE_LOOKUP, "", 0, "directory"), false), 0);
	mounted->directory = mounted->got_node;
	mounted->got_node = 0;
	assert_int_equal(open_file(mounted), 0);
	mounted->file_handle = mounted->got_handle;
	assert_int_equal(open_directory(mounted), 0);
	mounted->directory_handle = mounted->got_handle;
	mounted->got_handle = 0;
	mounted->got_directory = false;
	return mounted;
}

/* Gives back what an operation got. */
static void give_back(struct mounted *mounted)
{
	if (mounted->got_handle != 0)
		release(mounted, mounted->got_node != 0 ? mounted->got_node : mounted->file, mounted->got_handle,
		        mounted->got_directory);
	if (mounted->got_node != 0)
		forget(mounted, mounted->got_node, 1);
	mounted->got_handle = mounted->got_node = 0;
	mounted->got_directory = false;
}

/* Everything goes back to the server: neither side keeps anything. */
static void mounted_free(struct mounted *mounted)
{
	struct client *client = mounted->client;
	int server_nodes, server_handles;

	arm("");
	give_back(mounted);
	release(mounted, mounted->file, mounted->file_handle, false);
	release(mounted, mounted->directory, mounted->directory_handle, true);
	forget(mounted, mounted->file, 1);
	forget(mounted, mounted->directory, 1);
	assert_true(connection_try_forget(&mounted->thread.connection));
	assert_int_equal(forgets_count(client->server->forgets), 0);
	assert_int_equal(sync_all(mounted), 0);
	assert_int_equal(objects_count(client->objects), 1);
	held(&server_nodes, &server_handles);
	assert_int_equal(server_nodes, 1);
	assert_int_equal(server_handles, 0);
	thread_set_current(NULL);
	request_done(&mounted->thread.request);
	parts_free(client);
	close(mounted->kernel);
	served_session_done(&mounted->session);
	free(mounted);
}

/* One point fails with an error the n-th of the times that the operation passes it. */
static void try_fault(const struct operation *operation, enum faults_point point, unsigned long n, const char *error,
                      int expected)
{
	struct mounted *mounted = mounted_new();
	char rule[96];
	int r;

	snprintf(rule, sizeof(rule), "%s:%lu:%s", faults_name(point), n, error);
	arm(rule);
	r = operation->run(mounted);
	assert_int_equal(faults_fired(), 1);
	arm("");
	/* A listing does without a node. */
	if (r == 0 && point != FAULTS_MOUNT_FILE && operation->run == list_plus)
		expected = 0;
	if (r != expected)
		fail_msg("%s with %s: %d in place of %d", operation->name, rule, r, expected);
	if (r < 0 && operation->run(mounted) != 0 && !is_made("new"))
		fail_msg("%s after %s: it still fails", operation->name, rule);
	mounted_free(mounted);
}

static unsigned sweep(const struct operation *operation, enum faults_point point, const char *error, int expected)
{
	struct mounted *mounted = mounted_new();
	unsigned long passed;
	int r;

	arm("");
	r = operation->run(mounted);
	if (r != 0)
		fail_msg("%s without a fault: %d", operation->name, r);
	passed = faults_passed(point);
	mounted_free(mounted);
	for (unsigned long n = 1; n <= passed; n++)
		try_fault(operation, point, n, error, expected);
	return (unsigned) passed;
}

static void without_memory_an_operation_fails_and_nothing_is_kept(void **state)
{
	static const enum faults_point points[] = { FAULTS_MOUNT_FILE, FAULTS_MOUNT_OBJECT, FAULTS_MOUNT_OBJECT_NAME,
		                                    FAULTS_MOUNT_LISTING };

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		unsigned faults = 0;

		for (size_t k = 0; k < ARRAY_SIZE(operations); k++)
			faults += sweep(&operations[k], points[i], "ENOMEM", -ENOMEM);
		print_message("# %s: %u faults\n", faults_name(points[i]), faults);
		assert_true(faults > 0);
	}
}

/* The process died meanwhile: what the answer gives is not the kernel's. */
static void an_answer_that_the_kernel_does_not_take_is_given_back(void **state)
{
	unsigned faults = 0;

	for (size_t k = 0; k < ARRAY_SIZE(operations); k++)
		faults += sweep(&operations[k], FAULTS_MOUNT_FUSE_REPLY, "ENOENT", TAKEN_BACK);
	assert_true(faults >= ARRAY_SIZE(operations));
}

static int rename_to(struct mounted *mounted, const char *name, const char *new_name, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = FUSE_ROOT_ID, .flags = flags };
	char names[64];
	int length = snprintf(names, sizeof(names), "%s%c%s", name, '\0', new_name);

	return ask(mounted, FUSE_RENAME2, FUSE_ROOT_ID, &in, sizeof(in), names, (size_t) length + 1);
}

static uint64_t named(const struct mounted *mounted, const char *name)
{
	return objects_named(mounted->client->objects, mounted->client->root, name);
}

static void names_lead_to_what_operations_make_of_them(void **state)
{
	struct mounted *mounted = mounted_new();
	uint64_t file = mounted->file, other;

	assert_int_equal(look_up(mounted), 0);
	other = mounted->got_node;
	assert_int_equal(named(mounted, "file"), file);
	assert_int_equal(named(mounted, "other"), other);
	assert_int_equal(rename_to(mounted, "other", "file", RENAME_EXCHANGE), 0);
	assert_int_equal(named(mounted, "file"), other);
	assert_int_equal(named(mounted, "other"), file);
	assert_int_equal(rename_to(mounted, "other", "file", 0), 0);
	assert_int_equal(named(mounted, "file"), file);
	assert_int_equal(named(mounted, "other"), 0);
	/* Without memory for the new name the old one leads nowhere all the same. */
	arm("mount.object-name:1:ENOMEM");
	assert_int_equal(rename_to(mounted, "file", "other", 0), 0);
	assert_int_equal(faults_fired(), 1);
	arm("");
	assert_int_equal(named(mounted, "file"), 0);
	assert_int_equal(named(mounted, "other"), 0);
	assert_int_equal(look_up(mounted), 0);
	assert_int_equal(mounted->got_node, file);
	assert_int_equal(named(mounted, "other"), file);
	assert_int_equal(remove_name(mounted), 0);
	assert_int_equal(named(mounted, "other"), 0);
	give_back(mounted);
	assert_int_equal(make_directory(mounted), 0);
	assert_int_equal(named(mounted, "new"), mounted->got_node);
	assert_int_equal(ask_name(mounted, FUSE_RMDIR, "", 0, "new"), 0);
	assert_int_equal(named(mounted, "new"), 0);
	give_back(mounted);
	forget(mounted, other, 1);
	mounted_free(mounted);
}

/* The host gave the name to a file that the guest does not know: what it led to before does not get the new name. */
static void a_rename_of_what_is_not_known_moves_nothing(void **state)
{
	struct mounted *mounted = mounted_new();
	char path[256], aside[256];

	assert_int_equal(look_up(mounted), 0);
	snprintf(path, sizeof(path), "%s/other", served->share);
	snprintf(aside, sizeof(aside), "%s/aside", served->share);
	assert_int_equal(rename(path, aside), 0);
	host_write("other", "another");
	assert_int_equal(rename_to(mounted, "other", "file", 0), 0);
	assert_int_equal(named(mounted, "other"), 0);
	assert_int_equal(named(mounted, "file"), 0);
	mounted_free(mounted);
}

static int set_up(void **state)
{
	const char *arguments[] = { "--control", control, NULL };

	if (mkdtemp(control_directory) == NULL ||
	    (geteuid() == 0 && chown(control_directory, ORDINARY_USER, ORDINARY_USER) < 0))
		return -1;
	snprintf(control, sizeof(control), "%s/control", control_directory);
	served = served_start(arguments);
	return served == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	int code = served == NULL ? -1 : served_stop(served);

	(void) rmdir(control_directory);
	return code;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_an_operation_fails_and_nothing_is_kept),
		cmocka_unit_test(an_answer_that_the_kernel_does_not_take_is_given_back),
		cmocka_unit_test(names_lead_to_what_operations_make_of_them),
		cmocka_unit_test(a_rename_of_what_is_not_known_moves_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
