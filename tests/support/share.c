/* SPDX-License-Identifier: Apache-2.0 */
/* A share in a temporary directory, served by a session in this process. */
#include "tests/support/share.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileserver/worker/events.h"
#include "fileserver/sandbox/own-files.h"

uint32_t share_nodes_max = 10000;
uint64_t share_features;

struct share *share_new(uint32_t flags, uint32_t descriptors)
{
	struct worker_config config = {
		.session = 77,
		.proof_id = 1,
		.flags = flags,
		.lanes_max = 8,
		.heartbeat_ms = 20000,
		.features = share_features,
		.nodes_max = share_nodes_max,
		.descriptors_max = descriptors,
		.stall_ms = 20000,
	};
	struct share *share = calloc(1, sizeof(*share));
	struct proto_proof_reply welcome;
	int fds[2], root;

	umask(0);
	strcpy(share->directory, "/tmp/bindshare-test-XXXXXX");
	if (mkdtemp(share->directory) == NULL)
		return NULL;
	share->host = open(share->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	root = open(share->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || raw_init(&share->event, fds[0]) < 0)
		return NULL;
	if (service_new(&config, root, fds[1], &share->counters, &share->service) < 0 ||
	    events_start(share->service) < 0 || raw_welcome(&share->event, &welcome) < 0)
		return NULL;
	share->root = welcome.root.node;
	return share_add_lane(share, &share->raw) == 0 ? share : NULL;
}

int share_add_lane(struct share *share, struct raw *ret_raw)
{
	struct proto_proof_reply welcome;
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	r = raw_init(ret_raw, fds[0]);
	if (r == 0)
		r = lanes_add(share->service, fds[1], 5);
	return r < 0 ? r : raw_welcome(ret_raw, &welcome);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int make_removable(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return S_ISDIR(st->st_mode) ? chmod(path, 0700) : 0;
}

void share_free(struct share *share)
{
	service_end(share->service, PROTO_GOODBYE_DONE, "test over");
	raw_done(&share->event);
	raw_done(&share->raw);
	if (service_stop(share->service))
		service_free(share->service);
	close(share->host);
	(void) nftw(share->directory, make_removable, 16, FTW_PHYS | FTW_MOUNT);
	(void) nftw(share->directory, remove_one, 16, FTW_PHYS | FTW_DEPTH | FTW_MOUNT);
	free(share);
}

int share_lookup(struct share *share, uint64_t parent, const char *name, struct proto_entry *ret_entry)
{
	struct proto_lookup_request request = { .parent = parent, .name = raw_name(name) };
	struct proto_lookup_reply reply;
	int r = raw_lookup(&share->raw, &request, &reply);

	if (r == 0)
		*ret_entry = reply.entry;
	return r;
}

int share_open(struct share *share, uint64_t node, uint32_t flags, uint64_t *ret_handle)
{
	struct proto_open_request request = { .node = node, .flags = flags };
	struct proto_open_reply reply;
	int r = raw_open(&share->raw, &request, &reply);

	if (r == 0)
		*ret_handle = reply.handle;
	return r;
}

int share_create(struct share *share, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
                 struct proto_create_reply *ret_reply)
{
	struct proto_create_request request = {
		.parent = parent, .name = raw_name(name), .flags = flags, .mode = mode
	};

	return raw_create(&share->raw, &request, ret_reply);
}

ssize_t share_read(struct share *share, uint64_t handle, uint64_t offset, void *bytes, uint32_t size)
{
	struct proto_read_request request = { .handle = handle, .offset = offset, .size = size };
	struct proto_read_reply reply;
	int r = raw_read(&share->raw, &request, &reply);

	if (r < 0)
		return r;
	memcpy(bytes, reply.data.bytes, reply.data.length);
	return (ssize_t) reply.data.length;
}

ssize_t share_write(struct share *share, uint64_t handle, uint64_t offset, const void *bytes, uint32_t size,
                    uint32_t flags)
{
	struct proto_write_request request = {
		.handle = handle,
		.offset = offset,
		.flags = flags,
		.data = { .length = size, .available = size, .bytes = bytes },
	};
	struct proto_write_reply reply;
	int r = raw_write(&share->raw, &request, &reply);

	return r < 0 ? r : (ssize_t) reply.written;
}

void share_forget(struct share *share, uint64_t node, uint64_t count)
{
	uint8_t pair[16];
	struct proto_writer writer;
	struct proto_forget_request request = { .forgets = { .count = 1, .bytes = pair } };
	struct proto_forget_reply reply;

	proto_writer_init(&writer, pair, sizeof(pair));
	proto_put_node(&writer, &node);
	proto_put_u64(&writer, &count);
	(void) raw_forget(&share->raw, &request, &reply);
}

void share_host_write(struct share *share, const char *name, const char *content)
{
	int fd = openat(share->host, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t) strlen(content));
	close(fd);
}

int share_enter_namespace(void)
{
	int r = 0;

	/* EINVAL: a thread of the test before is still ending. */
	for (int waited = 0; getuid() != 0 && (r = own_files_enter(true)) == -EINVAL && waited < 5000; waited += 10)
		(void) usleep(10000);
	return r;
}

int share_become_unprivileged(void)
{
	if (geteuid() == 0 && seteuid(65534) < 0)
		return -1;
	return share_enter_namespace() < 0 ? -1 : 0;
}

int share_tear_down_unprivileged(void **state)
{
	share_free(*state);
	return getuid() == 0 ? seteuid(0) : 0;
}
