/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a session: the event lane, from the address to the server's WELCOME. */
#include "guest-fuse/mount/server/connect.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "protocol/paths.h"

enum { EVENT_STALL_MS = 2000, HEARTBEAT_LEAST_MS = 10, HEARTBEAT_MOST_MS = 600000, BLOCK_MOST = 1024 * 1024 };

static enum exits unreachable(const struct server *server, int error)
{
	const struct proto_address *address = &server->options->address;
	char where[256];

	proto_address_format(address, where, sizeof(where));
	log_error("cannot reach the file server at %s: %s", where, strerror(-error));
	if (error == -ECONNREFUSED || error == -ENOENT)
		log_error("start bindshare-fileserver there with --listen %s", where);
	else if (error == -ETIMEDOUT)
		log_error("nothing answers there: start bindshare-fileserver on the host, or give its right address");
	return EXITS_UNREACHABLE;
}

static enum exits refused(const struct server *server, const struct proto_refusal *refusal)
{
	log_error("%s", refusal->text[0] != '\0' ? refusal->text : "the server refuses without a reason");
	switch (refusal->code) {
	case PROTO_REFUSE_VERSION:
		return EXITS_VERSION;
	case PROTO_REFUSE_PROOF:
		log_error("the token file here (option token-file=) must hold the same token as the server's");
		return EXITS_NOT_TRUSTED;
	case PROTO_REFUSE_NOT_SHARED:
		return EXITS_NOT_SHARED;
	case PROTO_REFUSE_NOT_FOUND:
		return EXITS_NOT_FOUND;
	case PROTO_REFUSE_NOT_DIRECTORY:
		return EXITS_NOT_DIRECTORY;
	case PROTO_REFUSE_LIMIT:
		return EXITS_LIMIT;
	default:
		return EXITS_PROTOCOL;
	}
}

static enum exits failed(const struct server *server, int error, const struct proto_refusal *refusal)
{
	switch (error) {
	case -EACCES:
		return refused(server, refusal);
	case -EKEYREJECTED:
		log_error("the server does not hold the token that is expected here (option token-file=): it may be "
		          "another server, or one of the two files is out of date");
		return EXITS_NOT_TRUSTED;
	case -EPROTO:
		log_error("what answers at that address does not speak bindshare's protocol");
		return EXITS_PROTOCOL;
	default:
		return unreachable(server, error);
	}
}

/* The server can send any value: none may reach the kernel or a timer unchecked. */
static bool makes_sense(const struct proto_proof_reply *welcome)
{
	return welcome->session != 0 && welcome->lane == 0 && welcome->lanes_max >= 1 &&
	       welcome->heartbeat_ms >= HEARTBEAT_LEAST_MS && welcome->heartbeat_ms <= HEARTBEAT_MOST_MS &&
	       welcome->block_size >= 512 && welcome->block_size <= BLOCK_MOST && welcome->nodes_max > 0 &&
	       PROTO_ID_GENERATION(welcome->root.node) != 0 && S_ISDIR(welcome->root.attr.mode) &&
	       attributes_check(&welcome->root.attr) == 0;
}

static int fill_hello(const struct mount_options *options, struct proto_hello_request *ret_hello)
{
	char path[PATH_MAX];

	*ret_hello = (struct proto_hello_request){
		.flags = (options->read_only ? PROTO_HELLO_READ_ONLY : 0U) |
		         (options->owner_host ? PROTO_HELLO_OWNER_HOST : 0U) |
		         (options->permissions_host ? PROTO_HELLO_PERMISSIONS_HOST : 0U) |
		         (options->sync ? PROTO_HELLO_SYNC : 0U) |
		         (options->sync || options->dirsync ? PROTO_HELLO_DIRSYNC : 0U),
		.features = PROTO_FEATURE_ATTR_FLAGS | (options->leases ? PROTO_FEATURE_LEASES : 0U),
		.view_uid = options->uid,
		.view_gid = options->gid,
	};
	/* As text: where a symbolic link leads only the host knows. */
	if (paths_normalise(options->path, path) < 0)
		return -ENAMETOOLONG;
	strcpy(ret_hello->share.path, path);
	return 0;
}

enum exits connect_session(struct server *server, struct proto_channel *ret_event)
{
	struct proto_hello_request hello;
	struct proto_refusal refusal = { 0 };
	struct proto_channel channel;
	int fd, r = fill_hello(server->options, &hello);

	if (r < 0) {
		log_error("the path on the host is too long");
		return EXITS_USAGE;
	}
	fd = proto_address_connect(&server->options->address, PROTO_HANDSHAKE_MS);
	if (fd < 0)
		return unreachable(server, fd);
	r = proto_channel_init(&channel, fd, PROTO_SMALL_MAX + PROTO_HEADER_SIZE, EVENT_STALL_MS);
	if (r < 0) {
		close_fd(fd);
		log_error("the connection to the server cannot be set up: %s", strerror(-r));
		return EXITS_SYSTEM;
	}
	r = proto_hello(&channel, server->token, &hello, &server->welcome, &refusal);
	if (r == 0 && !makes_sense(&server->welcome))
		r = -EPROTO;
	if (r < 0) {
		proto_channel_done(&channel);
		return failed(server, r, &refusal);
	}
	*ret_event = channel;
	return EXITS_OK;
}
