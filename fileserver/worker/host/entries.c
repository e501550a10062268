/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a reply that describe an object at a name. */
#include "fileserver/worker/host/entries.h"

#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/nodes/stamps.h"

/*
 * Directories have leases of their own. Their attributes are read once more, since the watch must stand before; the
 * first time they are needed to know the directory.
 */
static void lease_directory(struct session *session, struct node *node, struct proto_attr *attr)
{
	struct proto_attr watched;
	struct node_fd fd;

	if (session->leases == NULL || nodes_fd(session->nodes, node, &fd) < 0)
		return;
	if (leases_hold(session->leases, node, fd.fd) && attributes_of(session, node, fd.fd, &watched, NULL) == 0) {
		*attr = watched;
		attr->flags |= PROTO_ATTR_LEASED;
	}
	nodes_fd_done(session->nodes, &fd);
}

/*
 * A file with other names has a lease when it is watched itself. What was read before that was known is read again.
 */
static bool is_leased(struct session *session, const struct pinned *directory, const char *name, struct node *node,
                      struct proto_attr *attr)
{
	struct proto_attr watched;
	struct statx stx;

	if (!leases_has(session->leases, node) || reach_stat_name(session, directory->fd.fd, name, &stx) < 0 ||
	    attributes_fill_name(session, directory->fd.fd, name, &stx, &watched) < 0 ||
	    nodes_find(session->nodes, &stx) != nodes_id(node))
		return false;
	link_owners_show(session, directory->fd.fd, &stx, &watched);
	*attr = watched;
	return true;
}

/* Objects that are no directories: by a watch of their own, or by that of the directory. */
static void lease_file(struct session *session, const struct pinned *directory, const char *name, struct node *node,
                       const struct statx *stx, struct proto_attr *attr)
{
	if ((stx->stx_nlink > 1 && is_leased(session, directory, name, node, attr)) ||
	    (directory->leased && leases_told(session->leases, node, stx)))
		attr->flags |= PROTO_ATTR_LEASED;
}

int entries_learn(struct session *session, const struct pinned *directory, const char *name, struct statx *stx,
                  int pinned, struct proto_entry *ret_entry, struct node **ret_node)
{
	int r;

	/* First, since the node takes over the descriptor and may close it. */
	r = pinned >= 0 ? attributes_fill(session, NULL, pinned, stx, &ret_entry->attr)
	                : attributes_fill_name(session, directory->fd.fd, name, stx, &ret_entry->attr);
	return r < 0 ? r : entries_learn_read(session, directory, name, stx, pinned, r > 0, ret_entry, ret_node);
}

int entries_learn_read(struct session *session, const struct pinned *directory, const char *name,
                       const struct statx *stx, int pinned, bool fresh, struct proto_entry *entry,
                       struct node **ret_node)
{
	struct node *node;
	int r;

	link_owners_show(session, directory->fd.fd, stx, &entry->attr);
	r = nodes_learn(session->nodes, directory->node, name, stx, pinned, true, &node);
	if (r < 0)
		return r;
	if (fresh)
		ownership_keep(session, node, stx, &entry->attr);
	entry->node = nodes_id(node);
	if (S_ISDIR(stx->stx_mode))
		lease_directory(session, node, &entry->attr);
	else
		lease_file(session, directory, name, node, stx, &entry->attr);
	if (ret_node != NULL)
		*ret_node = node;
	else
		nodes_put(session->nodes, node);
	return 0;
}

void entries_changed(struct session *session, const struct pinned *directory, struct proto_attr *ret_attr)
{
	struct statx stx;

	if (attributes_of(session, directory->node, directory->fd.fd, ret_attr, &stx) < 0) {
		*ret_attr = (struct proto_attr){ .mode = 0 };
		return;
	}
	entries_left(directory, &stx);
	if (directory->leased)
		ret_attr->flags |= PROTO_ATTR_LEASED;
}

void entries_left(const struct pinned *directory, const struct statx *stx)
{
	stamps_leave(directory->node, stx);
}

bool entries_are_left(const struct pinned *directory, const struct statx *stx)
{
	return stamps_are_left(directory->node, stx);
}
