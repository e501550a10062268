/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on names: look up, make, remove, rename, link. */
#define FUSE_USE_VERSION 314
#include <linux/fs.h>
#include <string.h>

#include "guest-fuse/mount/kernel/operations-internal.h"

/* The server named an object, with one reference: tells the kernel. result: the server's answer so far. */
static void reply_entry(struct lane *lane, fuse_req_t req, int result, uint64_t parent, const char *name,
                        const struct proto_entry *entry)
{
	struct client *client = lane->client;
	struct fuse_entry_param param;

	if (result == 0) {
		result = attributes_check(&entry->attr);
		if (result == 0)
			result = objects_learn(client->objects, parent, name, entry, 1);
		if (result == 0)
			objects_note_flags(client->objects, entry->node, entry->attr.flags, atomic_load(&lane->since));
		if (result < 0)
			operations_give_back(client, entry->node, 1);
	}
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	fill_entry(lane, entry, &param);
	objects_looked_up(client->objects, entry->node, atomic_load(&lane->since));
	if (fuse_reply_entry(req, &param) < 0)
		operations_not_taken(client, entry->node);
}

/* The same after a change, which the directory shows too. */
static void reply_made(struct lane *lane, fuse_req_t req, int result, uint64_t parent, const char *name,
                       const struct proto_entry *entry, const struct proto_attr *parent_attr)
{
	if (result == 0)
		operations_directory_changed(lane, parent, parent_attr);
	reply_entry(lane, req, result, parent, name, entry);
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct lane *lane = lane_current();
	struct proto_lookup_request request = { .parent = wire(lane, parent) };
	struct proto_lookup_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = rpc_lookup(lane, &request, &reply);
	if (r == -ENOENT && lane->client->timeout > 0) {
		struct fuse_entry_param absent = { .entry_timeout = lane_keep(lane) };

		(void) fuse_reply_entry(req, &absent);
		return;
	}
	reply_entry(lane, req, r, request.parent, name, &reply.entry);
}

static void forget_one(struct client *client, fuse_ino_t ino, uint64_t lookups)
{
	uint64_t node = client_node(client, ino), references = objects_forget(client->objects, node, lookups),
	         target = 0;

	operations_give_back(client, node, references);
	if (references > 0)
		target = follow_forget(&client->follow, node);
	if (target != 0)
		operations_not_taken(client, target);
}

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	struct lane *lane = lane_current();

	forget_one(lane->client, ino, lookups);
	fuse_reply_none(req);
	lane_forget_many(lane);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct lane *lane = lane_current();

	for (size_t i = 0; i < count; i++)
		forget_one(lane->client, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
	lane_forget_many(lane);
}

static void make_node(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct lane *lane = lane_current();
	struct proto_mknod_request request = { .parent = wire(lane, parent), .mode = mode, .rdev = (uint32_t) rdev };
	struct proto_mknod_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0)
		r = rpc_mknod(lane, &request, &reply);
	reply_made(lane, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void make_directory(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct lane *lane = lane_current();
	struct proto_mkdir_request request = { .parent = wire(lane, parent), .mode = mode & 07777 };
	struct proto_mkdir_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0)
		r = rpc_mkdir(lane, &request, &reply);
	reply_made(lane, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void make_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct lane *lane = lane_current();
	struct proto_symlink_request request = { .parent = wire(lane, parent) };
	struct proto_symlink_reply reply;
	size_t length = strlen(target);
	int r = length > PROTO_TARGET_MAX ? -ENAMETOOLONG : length == 0 ? -ENOENT : proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0) {
		request.target.length = length;
		memcpy(request.target.text, target, length + 1);
		r = rpc_symlink(lane, &request, &reply);
	}
	reply_made(lane, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void read_link(fuse_req_t req, fuse_ino_t ino)
{
	struct lane *lane = lane_current();
	struct proto_readlink_request request = { .node = wire(lane, ino) };
	struct proto_readlink_reply reply;
	int r = rpc_readlink(lane, &request, &reply);

	if (r == 0)
		(void) fuse_reply_readlink(req, reply.target.text);
	else
		reply_error(req, r);
}

static void unlink_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct lane *lane = lane_current();
	struct proto_unlink_request request = { .parent = wire(lane, parent) };
	struct proto_unlink_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = rpc_unlink(lane, &request, &reply);
	if (r == 0) {
		operations_directory_changed(lane, request.parent, &reply.parent);
		operations_changed(lane, reply.node);
	}
	reply_error(req, r);
}

static void remove_directory(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct lane *lane = lane_current();
	struct proto_rmdir_request request = { .parent = wire(lane, parent) };
	struct proto_rmdir_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = rpc_rmdir(lane, &request, &reply);
	if (r == 0) {
		operations_directory_changed(lane, request.parent, &reply.parent);
		operations_changed(lane, reply.node);
	}
	reply_error(req, r);
}

static void renamed(struct lane *lane, const struct proto_rename_request *request,
                    const struct proto_rename_reply *reply)
{
	struct objects *nodes = lane->client->objects;

	operations_changed(lane, reply->node);
	operations_changed(lane, reply->replaced);
	objects_moved(nodes, reply->node, request->new_parent, request->new_name.text);
	if ((request->flags & PROTO_RENAME_EXCHANGE) != 0)
		objects_moved(nodes, reply->replaced, request->parent, request->name.text);
	operations_directory_changed(lane, request->parent, &reply->parent);
	operations_directory_changed(lane, request->new_parent, &reply->new_parent);
}

static void rename_name(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                        const char *new_name, unsigned flags)
{
	struct lane *lane = lane_current();
	struct proto_rename_request request = { .parent = wire(lane, parent), .new_parent = wire(lane, new_parent) };
	struct proto_rename_reply reply;
	bool known = flags == RENAME_EXCHANGE || (flags & ~(unsigned) (RENAME_NOREPLACE | RENAME_WHITEOUT)) == 0;
	int r = known ? 0 : -EINVAL;

	if (r == 0)
		r = proto_name_set(&request.name, name);
	if (r == 0)
		r = proto_name_set(&request.new_name, new_name);
	if (r == 0) {
		request.flags = ((flags & RENAME_NOREPLACE) != 0 ? PROTO_RENAME_NOREPLACE : 0U) |
		                ((flags & RENAME_EXCHANGE) != 0 ? PROTO_RENAME_EXCHANGE : 0U) |
		                ((flags & RENAME_WHITEOUT) != 0 ? PROTO_RENAME_WHITEOUT : 0U);
		r = rpc_rename(lane, &request, &reply);
	}
	if (r == 0)
		renamed(lane, &request, &reply);
	reply_error(req, r);
}

static void link_name(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct lane *lane = lane_current();
	struct proto_link_request request = { .node = wire(lane, ino), .parent = wire(lane, new_parent) };
	struct proto_link_reply reply;
	int r = proto_name_set(&request.name, new_name);

	if (r == 0)
		r = rpc_link(lane, &request, &reply);
	if (r == 0)
		operations_changed(lane, request.node);
	reply_made(lane, req, r, request.parent, new_name, &reply.entry, &reply.parent);
}

void operations_fill_names(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = lookup;
	ops->forget = forget;
	ops->forget_multi = forget_multi;
	ops->mknod = make_node;
	ops->mkdir = make_directory;
	ops->symlink = make_symlink;
	ops->readlink = read_link;
	ops->unlink = unlink_name;
	ops->rmdir = remove_directory;
	ops->rename = rename_name;
	ops->link = link_name;
}
