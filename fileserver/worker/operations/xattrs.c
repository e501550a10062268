/* SPDX-License-Identifier: Apache-2.0 */
/* GETXATTR, SETXATTR, LISTXATTR, REMOVEXATTR. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/xattr-at.h"
#include "fileserver/worker/host/xattr-names.h"

/* Linux allows user.* attributes only on these (xattr(7)). */
static bool may_have(const struct pinned *object)
{
	mode_t type = nodes_type(object->node);

	return type == S_IFREG || type == S_IFDIR;
}

int worker_getxattr(struct call *call, const struct worker_getxattr *request, struct proto_getxattr_reply *ret_reply)
{
	struct lift lift = LIFT_INIT(call->session);
	char name[PROTO_NAME_MAX + 1];
	ssize_t n = -1;
	int r = xattr_names_host(call->session, request->name.text, name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	if (!may_have(request->node))
		return -ENODATA;
	lift.record = xattr_names_is_trusted(request->name.text);
	do {
		n = xattr_at_get(request->node->fd.fd, NULL, S_ISDIR(nodes_type(request->node->node)), name, call->data,
		                 PROTO_BLOB_MAX);
		r = n < 0 ? (int) n : 0;
	} while (lift_again(&lift, r));
	if (r == 0)
		ret_reply->value = (struct proto_blob){ .length = (size_t) n, .bytes = call->data };
	return r;
}

int worker_setxattr(struct call *call, const struct worker_setxattr *request, struct proto_setxattr_reply *ret_reply)
{
	struct session *session = call->session;
	const struct pinned *object = request->node;
	struct lift lift = LIFT_INIT(session);
	int flags = (request->flags & PROTO_XATTR_CREATE) != 0    ? XATTR_CREATE
	            : (request->flags & PROTO_XATTR_REPLACE) != 0 ? XATTR_REPLACE
	                                                          : 0;
	char name[PROTO_NAME_MAX + 1];
	struct space_claim claim;
	int r = xattr_names_host(session, request->name.text, name);

	if (r == 0 && !may_have(object))
		r = -EPERM;
	if (r == 0)
		r = space_claim_attribute(&session->space, object->node, object->fd.fd, request->value.length, &claim);
	if (r < 0)
		return r;
	lift.record = xattr_names_is_trusted(request->name.text);
	do
		r = xattr_at_set(object->fd.fd, name, request->value.bytes, request->value.length, flags);
	while (lift_again(&lift, r));
	space_settle(&session->space, &claim);
	return r < 0 ? r : durable_attributes(session, object->fd.fd);
}

/* Replaces the list, in place, by the names that the guest may see, as it knows them. Returns the new length. */
static size_t filter_names(const struct session *session, char *names, size_t length)
{
	size_t kept = 0;

	for (size_t at = 0; at < length;) {
		size_t size = strnlen(names + at, length - at) + 1;
		const char *name;

		if (at + size > length)
			break;
		name = xattr_names_guest(session, names + at);
		if (name != NULL) {
			size_t left = strlen(name) + 1;

			memmove(names + kept, name, left);
			kept += left;
		}
		at += size;
	}
	return kept;
}

int worker_listxattr(struct call *call, const struct worker_listxattr *request, struct proto_listxattr_reply *ret_reply)
{
	char *names = (char *) call->data;
	ssize_t n;

	if (!may_have(request->node))
		return 0; /* no attributes: the empty list */
	n = xattr_at_list(request->node->fd.fd, NULL, S_ISDIR(nodes_type(request->node->node)), names, PROTO_BLOB_MAX);
	if (n < 0)
		return (int) n;
	ret_reply->names =
	        (struct proto_blob){ .length = filter_names(call->session, names, (size_t) n), .bytes = names };
	return 0;
}

int worker_removexattr(struct call *call, const struct worker_removexattr *request,
                       struct proto_removexattr_reply *ret_reply)
{
	struct lift lift = LIFT_INIT(call->session);
	int fd = request->node->fd.fd;
	char name[PROTO_NAME_MAX + 1];
	int r = xattr_names_host(call->session, request->name.text, name);

	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	if (!may_have(request->node))
		return -EPERM;
	lift.record = xattr_names_is_trusted(request->name.text);
	do
		r = xattr_at_remove(fd, name);
	while (lift_again(&lift, r));
	return r < 0 ? r : durable_attributes(call->session, fd);
}
