/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on extended attributes: user.* only, and never the private one. */
#include "fileserver/worker/xattrs.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fileserver/worker/attributes.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/xattr-at.h"
#include "protocol/cleanup.h"

static bool is_private(const char *name)
{
	return strcmp(name, OWNERSHIP_XATTR) == 0;
}

static bool is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0 && name[5] != '\0';
}

bool xattrs_is_shown(const char *name)
{
	return is_user(name) && !is_private(name);
}

/*
 * 0, or what a name answers with that is not offered: trusted.* needs a privilege that the server never has, system.*
 * (ACLs) and security.* are not there.
 */
static int check_name(const char *name)
{
	if (is_private(name))
		return -EPERM;
	if (is_user(name))
		return 0;
	return strncmp(name, "trusted.", 8) == 0 ? -EPERM : -EOPNOTSUPP;
}

/* A node with a descriptor. */
struct target {
	struct node *node;
	struct node_fd fd;
};

static int target_get(struct session *session, uint64_t id, struct target *ret_target)
{
	mode_t type;
	int r = nodes_get(session->nodes, id, &ret_target->node);

	if (r < 0)
		return r;
	type = nodes_type(ret_target->node);
	/* As on any Linux file system: no user.* on anything but these. */
	r = type == S_IFREG || type == S_IFDIR ? nodes_fd(session->nodes, ret_target->node, &ret_target->fd) : -EPERM;
	if (r < 0)
		nodes_put(session->nodes, ret_target->node);
	return r;
}

static void target_put(struct session *session, struct target *target)
{
	nodes_fd_done(session->nodes, &target->fd);
	nodes_put(session->nodes, target->node);
}

int worker_getxattr(struct lane *lane, const struct proto_getxattr_request *request,
                    struct proto_getxattr_reply *ret_reply)
{
	struct session *session = lane->session;
	struct target target;
	ssize_t n = -1;
	int r = check_name(request->name.text);

	if (r < 0)
		return is_private(request->name.text) ? -ENODATA : r == -EPERM ? -ENODATA : r;
	r = target_get(session, request->node, &target);
	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	struct lift lift = LIFT_INIT(session);
	do {
		n = xattr_at_get(target.fd.fd, NULL, request->name.text, lane->channel.buffer, PROTO_BLOB_MAX);
		r = n < 0 ? (int) n : 0;
	} while (lift_again(&lift, r));
	target_put(session, &target);
	if (r == 0)
		ret_reply->value = (struct proto_blob){ .length = (size_t) n, .bytes = lane->channel.buffer };
	return r;
}

int worker_setxattr(struct lane *lane, const struct proto_setxattr_request *request,
                    struct proto_setxattr_reply *ret_reply)
{
	struct session *session = lane->session;
	int flags = (request->flags & PROTO_XATTR_CREATE) != 0    ? XATTR_CREATE
	            : (request->flags & PROTO_XATTR_REPLACE) != 0 ? XATTR_REPLACE
	                                                          : 0;
	struct space_claim claim;
	struct target target;
	int r = check_name(request->name.text);

	if (r < 0)
		return r;
	r = target_get(session, request->node, &target);
	if (r < 0)
		return r;
	r = space_claim_attribute(session, target.node, target.fd.fd, request->value.length, &claim);
	if (r < 0) {
		target_put(session, &target);
		return r;
	}
	struct lift lift = LIFT_INIT(session);
	do
		r = xattr_at_set(target.fd.fd, request->name.text, request->value.bytes, request->value.length, flags);
	while (lift_again(&lift, r));
	space_settle(session, &claim);
	if (r == 0)
		r = durable_attributes(session, target.fd.fd);
	target_put(session, &target);
	return r;
}

/* Keeps the names that the guest may see, in place. The new length. */
static size_t filter_names(char *names, size_t length)
{
	size_t kept = 0;

	for (size_t at = 0; at < length;) {
		size_t size = strnlen(names + at, length - at) + 1;

		if (at + size > length)
			break;
		if (xattrs_is_shown(names + at)) {
			memmove(names + kept, names + at, size);
			kept += size;
		}
		at += size;
	}
	return kept;
}

int worker_listxattr(struct lane *lane, const struct proto_listxattr_request *request,
                     struct proto_listxattr_reply *ret_reply)
{
	struct session *session = lane->session;
	char *names = (char *) lane->channel.buffer;
	struct target target;
	ssize_t n;
	int r = target_get(session, request->node, &target);

	if (r == -EPERM)
		return 0; /* none: the empty list */
	if (r < 0)
		return r;
	n = xattr_at_list(target.fd.fd, NULL, names, PROTO_BLOB_MAX);
	r = n < 0 ? (int) n : 0;
	target_put(session, &target);
	if (r == 0)
		ret_reply->names = (struct proto_blob){ .length = filter_names(names, (size_t) n), .bytes = names };
	return r;
}

int worker_removexattr(struct lane *lane, const struct proto_removexattr_request *request,
                       struct proto_removexattr_reply *ret_reply)
{
	struct session *session = lane->session;
	struct target target;
	int r = check_name(request->name.text);

	if (r < 0)
		return is_private(request->name.text) ? -ENODATA : r;
	r = target_get(session, request->node, &target);
	if (r < 0)
		return r;
	struct lift lift = LIFT_INIT(session);
	do
		r = xattr_at_remove(target.fd.fd, request->name.text);
	while (lift_again(&lift, r));
	if (r == 0)
		r = durable_attributes(session, target.fd.fd);
	target_put(session, &target);
	return r;
}
