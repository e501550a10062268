/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a reply that describe an object at a name. */
#include "fileserver/worker/host/entries.h"

#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/ownership.h"

int entries_learn(struct session *session, const struct pinned *directory, const char *name, struct statx *stx,
                  int pinned, struct proto_entry *ret_entry, struct node **ret_node)
{
	struct node *node;
	bool read;
	int r;

	/* First, since the node takes over the descriptor and may close it. */
	r = pinned >= 0 ? attributes_fill(session, NULL, pinned, stx, &ret_entry->attr)
	                : attributes_fill_name(session, directory->fd.fd, name, stx, &ret_entry->attr);
	if (r < 0)
		return r;
	link_owners_show(session, directory->fd.fd, stx, &ret_entry->attr);
	read = r > 0;
	r = nodes_learn(session->nodes, directory->node, name, stx, pinned, true, &node);
	if (r < 0)
		return r;
	if (read)
		ownership_keep(session, node, stx, &ret_entry->attr);
	ret_entry->node = nodes_id(node);
	if (ret_node != NULL)
		*ret_node = node;
	else
		nodes_put(session->nodes, node);
	return 0;
}

void entries_changed(struct session *session, const struct pinned *directory, struct proto_attr *ret_attr)
{
	if (attributes_of(session, directory->node, directory->fd.fd, ret_attr, NULL) < 0)
		*ret_attr = (struct proto_attr){ .mode = 0 };
}
