/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of a running mount, and the socket where they are read. */
#include "guest-fuse/mount/stats.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/kernel/counts.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/listings.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"

static json_t *fuse_json(const struct counts *counts)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < COUNTS_OPCODES; i++) {
		uint64_t count = atomic_load_explicit(&counts->requests[i], memory_order_relaxed);

		if (counts_name(i) != NULL)
			(void) json_object_set_new(object, counts_name(i), json_integer((json_int_t) count));
	}
	return object;
}

static json_t *rpc_json(const struct proto_counters *counters)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < PROTO_OP_LIMIT; i++) {
		uint64_t count = proto_counter_get(&counters->ops[i].count);

		if (proto_ops[i].name != NULL && proto_ops[i].lane != PROTO_LANE_HANDSHAKE &&
		    proto_ops[i].lane != PROTO_LANE_LIST)
			(void) json_object_set_new(object, proto_ops[i].name, json_integer((json_int_t) count));
	}
	return object;
}

char *stats_json(struct client *client)
{
	json_t *object = json_object();
	char *text;

	(void) json_object_set_new(object, "fuse", fuse_json(client->counts));
	(void) json_object_set_new(object, "rpc", rpc_json(&client->server->counters));
	(void) json_object_set_new(object, "lanes", json_integer(pending_connected(client->pending)));
	(void) json_object_set_new(object, "nodes", json_integer((json_int_t) objects_count(client->objects)));
	(void) json_object_set_new(object, "missing", json_integer((json_int_t) absent_count(client->absent)));
	(void) json_object_set_new(object, "listed", json_integer((json_int_t) listings_names(client->listings)));
	(void) json_object_set_new(object, "leases", json_boolean(client->validity->leases));
	(void) json_object_set_new(object, "io_uring", json_boolean(threads_have_uring(client->threads)));
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
