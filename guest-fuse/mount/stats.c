/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests of each kind, and the socket that tells it. */
#include "guest-fuse/mount/stats.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "guest-fuse/mount/client.h"
#include "protocol/cleanup.h"

/* The opcodes of include/uapi/linux/fuse.h. */
static const char *const opcodes[STATS_OPCODES] = {
	[0] = "other",         [1] = "lookup",
	[2] = "forget",        [3] = "getattr",
	[4] = "setattr",       [5] = "readlink",
	[6] = "symlink",       [8] = "mknod",
	[9] = "mkdir",         [10] = "unlink",
	[11] = "rmdir",        [12] = "rename",
	[13] = "link",         [14] = "open",
	[15] = "read",         [16] = "write",
	[17] = "statfs",       [18] = "release",
	[20] = "fsync",        [21] = "setxattr",
	[22] = "getxattr",     [23] = "listxattr",
	[24] = "removexattr",  [25] = "flush",
	[26] = "init",         [27] = "opendir",
	[28] = "readdir",      [29] = "releasedir",
	[30] = "fsyncdir",     [31] = "getlk",
	[32] = "setlk",        [33] = "setlkw",
	[34] = "access",       [35] = "create",
	[36] = "interrupt",    [37] = "bmap",
	[38] = "destroy",      [39] = "ioctl",
	[40] = "poll",         [41] = "notify_reply",
	[42] = "batch_forget", [43] = "fallocate",
	[44] = "readdirplus",  [45] = "rename2",
	[46] = "lseek",        [47] = "copy_file_range",
	[48] = "setupmapping", [49] = "removemapping",
	[50] = "syncfs",       [51] = "tmpfile",
	[52] = "statx",
};

void stats_count(struct stats *stats, uint32_t opcode)
{
	bool known = opcode < STATS_OPCODES && opcodes[opcode] != NULL;

	atomic_fetch_add_explicit(&stats->fuse[known ? opcode : 0], 1, memory_order_relaxed);
}

static json_t *fuse_json(const struct stats *stats)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < STATS_OPCODES; i++) {
		uint64_t count = atomic_load_explicit(&stats->fuse[i], memory_order_relaxed);

		if (opcodes[i] != NULL)
			(void) json_object_set_new(object, opcodes[i], json_integer((json_int_t) count));
	}
	return object;
}

static json_t *rpc_json(const struct stats *stats)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < PROTO_OP_LIMIT; i++) {
		uint64_t count = proto_counter_get(&stats->rpc.ops[i].count);

		if (proto_ops[i].name != NULL && proto_ops[i].lane != PROTO_LANE_HANDSHAKE &&
		    proto_ops[i].lane != PROTO_LANE_LIST)
			(void) json_object_set_new(object, proto_ops[i].name, json_integer((json_int_t) count));
	}
	return object;
}

char *stats_json(struct client *client)
{
	json_t *object = json_object();
	unsigned lanes = 0;
	char *text;

	for (unsigned i = 0; i < atomic_load(&client->lanes.count); i++) {
		struct lane *lane = client->lanes.all[i];

		pthread_mutex_lock(&lane->state);
		lanes += lane->connected ? 1 : 0;
		pthread_mutex_unlock(&lane->state);
	}
	(void) json_object_set_new(object, "fuse", fuse_json(&client->stats));
	(void) json_object_set_new(object, "rpc", rpc_json(&client->stats));
	(void) json_object_set_new(object, "lanes", json_integer(lanes));
	(void) json_object_set_new(object, "nodes", json_integer((json_int_t) objects_count(client->objects)));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

void stats_path(unsigned major, unsigned minor, char path[STATS_PATH_SIZE])
{
	(void) snprintf(path, STATS_PATH_SIZE, "/run/bindshare/mounts/%u:%u.sock", major, minor);
}

int stats_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	(void) mkdir("/run/bindshare", 0755);
	(void) mkdir("/run/bindshare/mounts", 0700);
	(void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	/* The number is this mount's alone: what lies there is from one that is gone. */
	(void) unlink(path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 8) < 0 ? -errno : 0;
	(void) umask(mask);
	return r < 0 ? r : TAKE_FD(fd);
}

void stats_answer(int listener, struct client *client)
{
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	_cleanup_free_ char *text = NULL;

	if (fd < 0)
		return;
	/* A few kilobytes fit into any socket's buffer. */
	text = stats_json(client);
	if (text != NULL)
		(void) send(fd, text, strlen(text), MSG_NOSIGNAL);
}
