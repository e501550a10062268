/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on extended attributes: user.*, trusted.* as records, and never the private ones. */
#include "fileserver/worker/xattrs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fileserver/worker/attributes.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/tree.h"
#include "fileserver/worker/xattr-at.h"
#include "protocol/cleanup.h"

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_user(const char *name)
{
	return starts(name, "user.") && name[5] != '\0';
}

static bool is_trusted(const char *name)
{
	return starts(name, "trusted.") && name[8] != '\0';
}

/* Records of the server's. */
static bool is_private(const char *name)
{
	return strcmp(name, OWNERSHIP_XATTR) == 0 || starts(name, XATTRS_PREFIX);
}

static const char *prefix_of(const struct session *session)
{
	return ownership_is_roots(session) ? XATTRS_PREFIX_ROOT : XATTRS_PREFIX;
}

/* The guest's name of one of the host's, which is a part of it; or NULL. */
static const char *guest_name(const struct session *session, const char *name)
{
	const char *prefix = prefix_of(session);

	if (is_user(name) && !is_private(name))
		return name;
	return starts(name, prefix) && is_trusted(name + strlen(prefix)) ? name + strlen(prefix) : NULL;
}

bool xattrs_is_shown(const struct session *session, const char *name)
{
	return guest_name(session, name) != NULL;
}

/* 0, or what a name answers with that is not offered: system.* (ACLs) and security.* are not there. */
static int host_name(const struct session *session, const char *name, char host[PROTO_NAME_MAX + 1])
{
	int length;

	if (is_private(name))
		return -EPERM;
	if (!is_user(name) && !is_trusted(name))
		return -EOPNOTSUPP;
	length = snprintf(host, PROTO_NAME_MAX + 1, "%s%s", is_user(name) ? "" : prefix_of(session), name);
	return length > PROTO_NAME_MAX ? -ERANGE : 0;
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

/* The same where the guest's kernel may have gone by an old name. */
static int target_get_to_change(struct lane *lane, uint64_t id, struct target *ret_target)
{
	int r = target_get(lane->session, id, ret_target);

	if (r < 0)
		return r;
	r = tree_check(lane, ret_target->node);
	if (r < 0)
		target_put(lane->session, ret_target);
	return r;
}

int worker_getxattr(struct lane *lane, const struct proto_getxattr_request *request,
                    struct proto_getxattr_reply *ret_reply)
{
	struct session *session = lane->session;
	char name[PROTO_NAME_MAX + 1];
	struct target target;
	ssize_t n = -1;
	int r = host_name(session, request->name.text, name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	r = target_get(session, request->node, &target);
	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	struct lift lift = LIFT_INIT(session);
	lift.record = is_trusted(request->name.text);
	do {
		n = xattr_at_get(target.fd.fd, NULL, name, lane->channel.buffer, PROTO_BLOB_MAX);
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
	char name[PROTO_NAME_MAX + 1];
	struct space_claim claim;
	struct target target;
	int r = host_name(session, request->name.text, name);

	if (r < 0)
		return r;
	r = target_get_to_change(lane, request->node, &target);
	if (r < 0)
		return r;
	r = space_claim_attribute(session, target.node, target.fd.fd, request->value.length, &claim);
	if (r < 0) {
		target_put(session, &target);
		return r;
	}
	struct lift lift = LIFT_INIT(session);
	lift.record = is_trusted(request->name.text);
	do
		r = xattr_at_set(target.fd.fd, name, request->value.bytes, request->value.length, flags);
	while (lift_again(&lift, r));
	space_settle(session, &claim);
	if (r == 0)
		r = durable_attributes(session, target.fd.fd);
	target_put(session, &target);
	return r;
}

/* Keeps the names that the guest may see, as it knows them, in place. The new length. */
static size_t filter_names(const struct session *session, char *names, size_t length)
{
	size_t kept = 0;

	for (size_t at = 0; at < length;) {
		size_t size = strnlen(names + at, length - at) + 1;
		const char *name;

		if (at + size > length)
			break;
		name = guest_name(session, names + at);
		if (name != NULL) {
			size_t left = strlen(name) + 1;

			memmove(names + kept, name, left);
			kept += left;
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
		ret_reply->names =
		        (struct proto_blob){ .length = filter_names(session, names, (size_t) n), .bytes = names };
	return r;
}

int worker_removexattr(struct lane *lane, const struct proto_removexattr_request *request,
                       struct proto_removexattr_reply *ret_reply)
{
	struct session *session = lane->session;
	char name[PROTO_NAME_MAX + 1];
	struct target target;
	int r = host_name(session, request->name.text, name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	r = target_get_to_change(lane, request->node, &target);
	if (r < 0)
		return r;
	struct lift lift = LIFT_INIT(session);
	lift.record = is_trusted(request->name.text);
	do
		r = xattr_at_remove(target.fd.fd, name);
	while (lift_again(&lift, r));
	if (r == 0)
		r = durable_attributes(session, target.fd.fd);
	target_put(session, &target);
	return r;
}
