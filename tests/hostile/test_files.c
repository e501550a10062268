/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is fully lost and tries to leave its share, against a real server run as an ordinary user. After each
 * case a canary tree beside the share is unchanged in content, mode, times and xattrs, and the server is alive.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/served.h"

static struct served *served;
static struct served_session session;

struct canary {
	struct stat directory, file;
	char content[32];
	ssize_t xattrs;
};
static struct canary canary;

static void look_at_canary(struct canary *ret_canary)
{
	char path[160];
	int fd;

	memset(ret_canary, 0, sizeof(*ret_canary));
	snprintf(path, sizeof(path), "%s/secret", served->canary);
	assert_int_equal(stat(served->canary, &ret_canary->directory), 0);
	assert_int_equal(stat(path, &ret_canary->file), 0);
	ret_canary->xattrs = listxattr(path, NULL, 0);
	fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, ret_canary->content, sizeof(ret_canary->content) - 1) > 0);
	close(fd);
}

static int host_file(const char *directory, const char *name, const char *content)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, content, strlen(content)) != (ssize_t) strlen(content) || fchmod(fd, 0666) < 0)
		return -1;
	return close(fd);
}

static const char *in_share(const char *name)
{
	static char path[2][256];
	static int which;

	which = 1 - which;
	snprintf(path[which], sizeof(path[which]), "%s/%s", served->share, name);
	return path[which];
}

static int set_up_group(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	served = served_start(NULL);
	return served == NULL || host_file(served->canary, "secret", "canary") < 0 ? -1 : 0;
}

static int tear_down_group(void **state)
{
	return served_stop(served) == 0 ? 0 : -1;
}

static int set_up(void **state)
{
	look_at_canary(&canary);
	return served_session(served, served->share, &session, NULL);
}

static int tear_down(void **state)
{
	struct proto_getattr_reply reply;
	struct canary now;
	int r = 0;

	look_at_canary(&now);
	if (now.directory.st_mtime != canary.directory.st_mtime || now.directory.st_mode != canary.directory.st_mode ||
	    now.file.st_mtim.tv_nsec != canary.file.st_mtim.tv_nsec ||
	    now.file.st_ctim.tv_nsec != canary.file.st_ctim.tv_nsec || now.file.st_mode != canary.file.st_mode ||
	    now.file.st_nlink != canary.file.st_nlink || now.file.st_size != canary.file.st_size ||
	    strcmp(now.content, canary.content) != 0 || now.xattrs != canary.xattrs) {
		print_error("the canary was touched\n");
		r = -1;
	}
	served_session_done(&session);
	if (served_session(served, served->share, &session, NULL) < 0 ||
	    raw_getattr(&session.raw, &(struct proto_getattr_request){ .node = session.root }, &reply) < 0) {
		print_error("the server is not well\n");
		r = -1;
	}
	served_session_done(&session);
	return r;
}

static int lookup(uint64_t parent, const char *name, uint64_t *ret_node)
{
	struct proto_lookup_reply reply;
	int r = raw_lookup(&session.raw, &(struct proto_lookup_request){ .parent = parent, .name = raw_name(name) },
	                   &reply);

	if (r == 0)
		*ret_node = reply.entry.node;
	return r;
}

/* A request whose fields are node and a name of any bytes, past the client's own checks. */
static int with_name(enum proto_op op, const char *name, size_t length)
{
	uint8_t payload[600] = { 0 };
	struct proto_header header = { .op = (uint16_t) op, .id = ++session.raw.id }, reply;
	struct proto_reader reader;
	size_t at = 8;

	memcpy(payload, &session.root, 8);
	payload[at++] = (uint8_t) length;
	payload[at++] = (uint8_t) (length >> 8);
	memcpy(payload + at, name, length);
	at += length;
	switch (op) {
	case PROTO_MKDIR: /* mode, owner */
		at += 12;
		break;
	case PROTO_MKNOD: /* mode, rdev, owner */
		at += 16;
		break;
	case PROTO_CREATE: /* flags, mode, owner */
		payload[at] = PROTO_OPEN_WRITE;
		at += 16;
		break;
	case PROTO_SYMLINK: /* target, owner */
		payload[at] = 1;
		payload[at + 2] = 'x';
		at += 3 + 8;
		break;
	case PROTO_RENAME: /* new parent, new name, flags */
		memcpy(payload + at, &session.root, 8);
		at += 8;
		payload[at] = 1;
		payload[at + 2] = 'x';
		at += 3 + 4;
		break;
	default:
		break;
	}
	header.length = (uint32_t) at;
	assert_int_equal(raw_frame(&session.raw, &header, payload, at), 0);
	assert_int_equal(proto_channel_next(&session.raw.channel, &reply, &reader), 0);
	return -reply.status;
}

static void no_operation_takes_a_name_that_leads_elsewhere(void **state)
{
	static const enum proto_op ops[] = { PROTO_LOOKUP, PROTO_MKDIR, PROTO_MKNOD,   PROTO_CREATE,
		                             PROTO_UNLINK, PROTO_RMDIR, PROTO_SYMLINK, PROTO_RENAME };
	static const struct {
		const char *bytes;
		size_t length;
	} names[] = { { "", 0 },
		      { ".", 1 },
		      { "..", 2 },
		      { "/", 1 },
		      { "../canary", 9 },
		      { "a/b", 3 },
		      { "/etc/passwd", 11 },
		      { "a\0b", 3 },
		      { "../canary/secret", 16 } };

	for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			assert_int_equal(with_name(ops[op], names[i].bytes, names[i].length), -EINVAL);
}

static void links_that_lead_out_are_read_and_never_followed(void **state)
{
	static const char *const targets[] = {
		"/", "../canary", "../canary/secret", "/proc/self/root", "/proc/self/fd/4", "/etc/passwd"
	};

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct proto_symlink_reply made;
		struct proto_opendir_reply opened;
		struct proto_open_reply file;
		struct proto_setattr_reply set;
		struct proto_readlink_reply link;
		struct proto_symlink_request request = { .parent = session.root, .name = raw_name("out") };
		uint64_t node;

		request.target.length = strlen(targets[i]);
		memcpy(request.target.text, targets[i], request.target.length + 1);
		assert_int_equal(raw_symlink(&session.raw, &request, &made), 0);
		node = made.entry.node;
		assert_int_equal(lookup(node, "secret", &(uint64_t){ 0 }), -ENOTDIR);
		assert_int_equal(
		        raw_open(&session.raw, &(struct proto_open_request){ node, PROTO_OPEN_READ, 0 }, &file),
		        -ELOOP);
		assert_int_equal(raw_opendir(&session.raw, &(struct proto_opendir_request){ node, 65536 }, &opened),
		                 -ENOTDIR);
		assert_true(raw_setattr(&session.raw,
		                        &(struct proto_setattr_request){
		                                .node = node, .set = { .valid = PROTO_SET_MODE, .mode = 0777 } },
		                        &set) < 0);
		assert_true(
		        raw_setattr(&session.raw,
		                    &(struct proto_setattr_request){ .node = node, .set = { .valid = PROTO_SET_SIZE } },
		                    &set) < 0);
		assert_int_equal(raw_readlink(&session.raw, &(struct proto_readlink_request){ node }, &link), 0);
		assert_string_equal(link.target.text, targets[i]);
		assert_int_equal(unlink(in_share("out")), 0);
	}
}

static void special_files_are_never_opened_and_never_block(void **state)
{
	struct proto_open_reply opened;
	uint64_t node = 0;

	assert_int_equal(mkfifo(in_share("pipe"), 0666), 0);
	assert_int_equal(lookup(session.root, "pipe", &node), 0);
	for (uint32_t flags = 1; flags <= 3; flags++)
		assert_int_equal(raw_open(&session.raw, &(struct proto_open_request){ node, flags, 0 }, &opened),
		                 -ENXIO);
	if (geteuid() == 0) {
		assert_int_equal(mknod(in_share("null"), S_IFCHR | 0666, (1 << 8) | 3), 0);
		assert_int_equal(lookup(session.root, "null", &node), 0);
		assert_int_equal(
		        raw_open(&session.raw, &(struct proto_open_request){ node, PROTO_OPEN_WRITE, 0 }, &opened),
		        -ENXIO);
		unlink(in_share("null"));
	}
	unlink(in_share("pipe"));
}

static void a_file_swapped_for_a_fifo_after_lookup_is_stale(void **state)
{
	struct proto_open_reply opened;
	uint64_t node = 0;

	assert_int_equal(host_file(served->share, "file", "x"), 0);
	assert_int_equal(lookup(session.root, "file", &node), 0);
	assert_int_equal(unlink(in_share("file")), 0);
	assert_int_equal(mkfifo(in_share("file"), 0666), 0);
	assert_int_equal(raw_open(&session.raw, &(struct proto_open_request){ node, PROTO_OPEN_READ, 0 }, &opened),
	                 -ESTALE);
	unlink(in_share("file"));
}

static atomic_bool stop;

/* A directory and a link to the canary change places as fast as they can. */
static void *exchange(void *argument)
{
	char directory[256], link[256];

	snprintf(directory, sizeof(directory), "%s/dir", served->share);
	snprintf(link, sizeof(link), "%s/link", served->share);
	while (!atomic_load(&stop))
		(void) syscall(SYS_renameat2, AT_FDCWD, directory, AT_FDCWD, link, RENAME_EXCHANGE);
	return NULL;
}

static void a_directory_exchanged_with_a_link_never_leads_out(void **state)
{
	struct proto_create_reply created;
	struct proto_open_reply opened;
	struct proto_read_reply bytes;
	struct proto_unlink_reply removed;
	pthread_t thread;

	assert_int_equal(mkdir(in_share("dir"), 0777), 0);
	assert_int_equal(host_file(served->share, "dir/secret", "inside"), 0);
	assert_int_equal(symlink("../canary", in_share("link")), 0);
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, exchange, NULL);
	for (int i = 0; i < 20000; i++) {
		uint64_t directory = 0, file = 0;

		if (lookup(session.root, i % 2 == 0 ? "dir" : "link", &directory) < 0)
			continue;
		if (lookup(directory, "secret", &file) == 0 &&
		    raw_open(&session.raw, &(struct proto_open_request){ file, PROTO_OPEN_READ, 0 }, &opened) == 0) {
			assert_int_equal(
			        raw_read(&session.raw, &(struct proto_read_request){ opened.handle, 0, 16 }, &bytes),
			        0);
			assert_memory_equal(bytes.data.bytes, "inside", 6);
			(void) raw_release(&session.raw, &(struct proto_release_request){ opened.handle },
			                   &(struct proto_release_reply){});
		}
		(void) raw_create(&session.raw,
		                  &(struct proto_create_request){ .parent = directory,
		                                                  .name = raw_name("planted"),
		                                                  .flags = PROTO_OPEN_WRITE,
		                                                  .mode = 0644 },
		                  &created);
		(void) raw_unlink(&session.raw,
		                  &(struct proto_unlink_request){ .parent = directory, .name = raw_name("planted") },
		                  &removed);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(access(in_share("../canary/planted"), F_OK), -1);
}

/*
 * What the guest knows when the host moves it out of the share stays in use while its descriptor is open: that is not
 * shut yet (docs/SECURITY.md). It leads to what is in it and nowhere else.
 */
static void a_directory_that_the_host_moves_out_leads_to_its_own_entries_only(void **state)
{
	char outside[256];
	uint64_t directory = 0, node = 0;

	snprintf(outside, sizeof(outside), "%s/moved", served->directory);
	assert_int_equal(mkdir(in_share("moving"), 0777), 0);
	assert_int_equal(lookup(session.root, "moving", &directory), 0);
	assert_int_equal(rename(in_share("moving"), outside), 0);
	/* "..", the way to the canary, cannot even be asked for */
	assert_int_equal(with_name(PROTO_LOOKUP, "..", 2), -EINVAL);
	assert_true(lookup(directory, "canary", &node) < 0);
	rmdir(outside);
}

static void ids_of_another_session_mean_nothing_here(void **state)
{
	struct served_session other;
	struct proto_open_reply opened;
	struct proto_read_reply bytes;
	uint64_t node = 0;

	assert_int_equal(host_file(served->share, "file", "x"), 0);
	assert_int_equal(served_session(served, served->share, &other, NULL), 0);
	assert_int_equal(lookup(session.root, "file", &node), 0);
	assert_int_equal(raw_open(&session.raw, &(struct proto_open_request){ node, PROTO_OPEN_READ, 0 }, &opened), 0);
	assert_int_equal(raw_read(&other.raw, &(struct proto_read_request){ opened.handle, 0, 1 }, &bytes), -EBADF);
	for (int bit = 0; bit < 64; bit++)
		assert_int_equal(raw_read(&session.raw,
		                          &(struct proto_read_request){ opened.handle ^ (1ULL << bit), 0, 1 }, &bytes),
		                 -EBADF);
	served_session_done(&other);
	unlink(in_share("file"));
}

/* trusted.* too is never the host's attribute of that name. */
static void xattrs_of_the_hosts_own_are_refused(void **state)
{
	static const char *const names[] = { "security.capability",
		                             "security.selinux",
		                             "trusted.",
		                             "system.posix_acl_access",
		                             "user.containers.override_stat",
		                             "user.bindshare.links",
		                             "user.bindshare.trusted.overlay.opaque",
		                             "user.",
		                             "x" };
	struct proto_setxattr_reply set;
	uint64_t node = 0;

	assert_int_equal(host_file(served->share, "file", "x"), 0);
	assert_int_equal(lookup(session.root, "file", &node), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(raw_setxattr(&session.raw,
		                         &(struct proto_setxattr_request){
		                                 .node = node, .name = raw_name(names[i]), .value = { 1, "v" } },
		                         &set) < 0);
	assert_int_equal(listxattr(in_share("file"), NULL, 0), 0);
	assert_int_equal(raw_setxattr(&session.raw,
	                              &(struct proto_setxattr_request){ .node = node,
	                                                                .name = raw_name("trusted.overlay.opaque"),
	                                                                .value = { 1, "y" } },
	                              &set),
	                 0);
	assert_true(getxattr(in_share("file"), "trusted.overlay.opaque", NULL, 0) < 0);
	assert_int_equal(getxattr(in_share("file"), "user.bindshare.trusted.overlay.opaque", NULL, 0), 1);
	unlink(in_share("file"));
}

static void a_path_that_is_not_shared_is_refused_without_saying_whether_it_exists(void **state)
{
	struct proto_refusal there, missing;
	struct served_session refused;
	char path[256];

	assert_int_equal(served_session(served, served->canary, &refused, &there), -EACCES);
	snprintf(path, sizeof(path), "%s-none", served->canary);
	assert_int_equal(served_session(served, path, &refused, &missing), -EACCES);
	assert_int_equal(there.code, PROTO_REFUSE_NOT_SHARED);
	assert_int_equal(missing.code, PROTO_REFUSE_NOT_SHARED);
	assert_int_equal(strncmp(there.text, "Mounts denied: The path ", 24), 0);
	/* a sibling whose name begins with the share's */
	snprintf(path, sizeof(path), "%s2", served->share);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(served_session(served, path, &refused, &there), -EACCES);
	assert_int_equal(there.code, PROTO_REFUSE_NOT_SHARED);
	rmdir(path);
}

static void a_link_in_the_share_cannot_be_mounted_as_what_it_points_to(void **state)
{
	struct served_session refused;
	struct proto_refusal refusal;

	assert_int_equal(symlink("../canary", in_share("gate")), 0);
	assert_int_equal(served_session(served, in_share("gate"), &refused, &refusal), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_NOT_SHARED);
	unlink(in_share("gate"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_operation_takes_a_name_that_leads_elsewhere),
		TEST(links_that_lead_out_are_read_and_never_followed),
		TEST(special_files_are_never_opened_and_never_block),
		TEST(a_file_swapped_for_a_fifo_after_lookup_is_stale),
		TEST(a_directory_exchanged_with_a_link_never_leads_out),
		TEST(a_directory_that_the_host_moves_out_leads_to_its_own_entries_only),
		TEST(ids_of_another_session_mean_nothing_here),
		TEST(xattrs_of_the_hosts_own_are_refused),
		TEST(a_path_that_is_not_shared_is_refused_without_saying_whether_it_exists),
		TEST(a_link_in_the_share_cannot_be_mounted_as_what_it_points_to),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
