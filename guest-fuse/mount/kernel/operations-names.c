/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on names: look up, make, remove, rename, link. */
#define FUSE_USE_VERSION 314
#include <linux/fs.h>
#include <string.h>

#include "guest-fuse/mount/kernel/invalidator.h"
#include "guest-fuse/mount/kernel/operation.h"
#include "guest-fuse/mount/kernel/operations-parts.h"
#include "guest-fuse/mount/kernel/scan.h"
#include "guest-fuse/mount/known/absent.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/server/stale.h"
#include "guest-fuse/mount/server/thread-call.h"

/* The server named an object, with one reference. Answers the kernel with it, or with the error in result. */
static void reply_entry(struct thread *thread, fuse_req_t req, int result, uint64_t parent, const char *name,
                        const struct proto_entry *entry)
{
	struct client *client = thread->client;
	struct fuse_entry_param param;

	if (result == 0) {
		result = attributes_check(&entry->attr);
		if (result == 0)
			result = objects_learn(client->objects, parent, name, entry, 1);
		if (result == 0)
			objects_note_flags(client->objects, entry->node, entry->attr.flags,
			                   request_since(&thread->request));
		if (result < 0)
			server_give_back(client->server, entry->node, 1);
	}
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	fill_entry_told(thread, parent, entry, &param);
	objects_looked_up(client->objects, entry->node, request_since(&thread->request));
	if (fuse_reply_entry(req, &param) < 0)
		effects_not_taken(client, entry->node);
}

/* The same after a change, with the directory's attributes afterwards. */
static void reply_made(struct thread *thread, fuse_req_t req, int result, uint64_t parent, const char *name,
                       const struct proto_entry *entry, const struct proto_attr *parent_attr)
{
	if (result == 0)
		effects_directory_changed(thread, parent, parent_attr);
	reply_entry(thread, req, result, parent, name, entry);
}

/* There is no such name. False: the kernel may not keep that, and has no answer yet. */
static bool reply_absent(struct thread *thread, fuse_req_t req, const struct proto_lookup_request *request,
                         const struct answer *answer)
{
	struct client *client = thread->client;
	struct fuse_entry_param absent = { .entry_timeout = 0 };
	struct absent_name evicted;
	int r = 0;

	/* What is kept for ever is kept track of: first, or an INVALIDATE that comes now would not find it. */
	if (answer->leased)
		r = absent_add(client->absent, request->parent, request->name.text, &evicted);
	if (r > 0)
		invalidator_expire(client->invalidator, evicted.parent, &evicted.name);
	absent.entry_timeout = validity_negative(client->validity, request->parent, answer);
	if (r < 0 && absent.entry_timeout > 0)
		absent.entry_timeout = validity_left(client->validity, answer->since);
	if (absent.entry_timeout <= 0) {
		(void) absent_remove(client->absent, request->parent, request->name.text);
		return false;
	}
	(void) fuse_reply_entry(req, &absent);
	return true;
}

/*
 * The directory does not exist any more, and the kernel is to look its name up again, which it does after ESTALE; but
 * not when that is the answer for the name that is to be made (fs/namei.c, filename_create()). To make the name is
 * refused with ESTALE, and then it does.
 */
static int refuse_lookup(struct thread *thread, uint64_t parent, const char *name)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	struct client *client = thread->client;

	if (thread_call_makes((pid_t) header->pid, name) != 0) {
		stale_forget(client->server->stale, header);
		return -ENOENT;
	}
	if (objects_was_named(client->objects, parent, name))
		stale_expect_twice(client->server->stale, header);
	return -ESTALE;
}

/* False: the server is to be asked. */
static bool look_up_known(struct thread *thread, fuse_req_t req, const struct proto_lookup_request *request,
                          struct listings_found *found)
{
	struct client *client = thread->client;
	struct fuse_entry_param param;

	switch (scan_look_up(thread, request->parent, request->name.text, found)) {
	case LISTINGS_MISSING:
		/* What is unsure is for this caller, and the kernel keeps nothing of it. */
		if (found->unsure || !reply_absent(thread, req, request, &found->answer))
			reply_error(req, -ENOENT);
		return true;
	case LISTINGS_FOUND:
		fill_entry(client, request->parent, &found->entry, &found->answer, &param);
		if (fuse_reply_entry(req, &param) < 0)
			effects_not_taken(client, found->entry.node);
		return true;
	default:
		return false;
	}
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct thread *thread = thread_current();
	struct proto_lookup_request request = { .parent = wire(thread, parent) };
	struct proto_lookup_reply reply;
	struct listings_found found;
	struct answer answer;
	int r = proto_name_set(&request.name, name);

	if (r == 0 && look_up_known(thread, req, &request, &found))
		return;
	if (r == 0) {
		r = rpc_lookup(&thread->request, &request, &reply);
		scan_asked(thread, request.parent, &found, r);
	}
	if (r == -ESTALE)
		r = refuse_lookup(thread, request.parent, name);
	answer = request_told(&thread->request);
	if (r != -ENOENT || !reply_absent(thread, req, &request, &answer))
		reply_entry(thread, req, r, request.parent, name, &reply.entry);
}

static void forget_one(struct client *client, fuse_ino_t ino, uint64_t lookups)
{
	uint64_t node = client_node(client, ino), references = objects_forget(client->objects, node, lookups),
	         target = 0;

	server_give_back(client->server, node, references);
	if (references > 0) {
		kept_drop(client->kept, node);
		target = file_binds_forget(client->file_binds, node);
		scan_drop(client, node);
	}
	if (target != 0)
		effects_not_taken(client, target);
}

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	struct thread *thread = thread_current();

	forget_one(thread->client, ino, lookups);
	fuse_reply_none(req);
	connection_forget_many(&thread->connection);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct thread *thread = thread_current();

	for (size_t i = 0; i < count; i++)
		forget_one(thread->client, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
	connection_forget_many(&thread->connection);
}

static void make_node(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct thread *thread = thread_current();
	struct proto_mknod_request request = { .parent = wire(thread, parent), .mode = mode, .rdev = (uint32_t) rdev };
	struct proto_mknod_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0) {
		scan_changing(thread->client, request.parent, name);
		r = rpc_mknod(&thread->request, &request, &reply);
		scan_changed(thread->client, request.parent, name, false);
	}
	reply_made(thread, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void make_directory(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct thread *thread = thread_current();
	struct proto_mkdir_request request = { .parent = wire(thread, parent), .mode = mode & 07777 };
	struct proto_mkdir_reply reply;
	int r = proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0) {
		scan_changing(thread->client, request.parent, name);
		r = rpc_mkdir(&thread->request, &request, &reply);
		scan_changed(thread->client, request.parent, name, false);
	}
	reply_made(thread, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void make_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct thread *thread = thread_current();
	struct proto_symlink_request request = { .parent = wire(thread, parent) };
	struct proto_symlink_reply reply;
	size_t length = strlen(target);
	int r = length > PROTO_TARGET_MAX ? -ENAMETOOLONG : length == 0 ? -ENOENT : proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0) {
		request.target.length = length;
		memcpy(request.target.text, target, length + 1);
		scan_changing(thread->client, request.parent, name);
		r = rpc_symlink(&thread->request, &request, &reply);
		scan_changed(thread->client, request.parent, name, false);
	}
	reply_made(thread, req, r, request.parent, name, &reply.entry, &reply.parent);
}

static void read_link(fuse_req_t req, fuse_ino_t ino)
{
	struct thread *thread = thread_current();
	struct proto_readlink_request request = { .node = wire(thread, ino) };
	struct proto_readlink_reply reply;
	int r = rpc_readlink(&thread->request, &request, &reply);

	if (r == 0)
		(void) fuse_reply_readlink(req, reply.target.text);
	else
		reply_error(req, r);
}

/* unlink_name(), rmdir_name(): two operations that differ in nothing but what is removed. */
#define REMOVES(op)                                                                                                    \
	static void op##_name(fuse_req_t req, fuse_ino_t parent, const char *name)                                     \
	{                                                                                                              \
		struct thread *thread = thread_current();                                                              \
		struct proto_##op##_request request = { .parent = wire(thread, parent) };                              \
		struct proto_##op##_reply reply;                                                                       \
		int r = proto_name_set(&request.name, name);                                                           \
                                                                                                                       \
		if (r == 0) {                                                                                          \
			scan_changing(thread->client, request.parent, name);                                           \
			r = rpc_##op(&thread->request, &request, &reply);                                              \
			scan_changed(thread->client, request.parent, name, r == 0);                                    \
		}                                                                                                      \
		if (r == 0) {                                                                                          \
			objects_unname(thread->client->objects, request.parent, name);                                 \
			effects_directory_changed(thread, request.parent, &reply.parent);                              \
			effects_changed(thread, reply.node);                                                           \
		}                                                                                                      \
		reply_error(req, r);                                                                                   \
	}
REMOVES(unlink)
REMOVES(rmdir)

static void renamed(struct thread *thread, const struct proto_rename_request *request,
                    const struct proto_rename_reply *reply)
{
	struct objects *nodes = thread->client->objects;

	effects_changed(thread, reply->node);
	effects_changed(thread, reply->replaced);
	/* Also where the server knows neither object: these are not what the names led to before. */
	objects_unname(nodes, request->parent, request->name.text);
	objects_unname(nodes, request->new_parent, request->new_name.text);
	objects_moved(nodes, reply->node, request->new_parent, request->new_name.text);
	if ((request->flags & PROTO_RENAME_EXCHANGE) != 0)
		objects_moved(nodes, reply->replaced, request->parent, request->name.text);
	/* One directory is told of once: two answers at once would be taken for two changes, of which neither is the
	 * last. */
	if (request->new_parent != request->parent)
		effects_directory_changed(thread, request->parent, &reply->parent);
	effects_directory_changed(thread, request->new_parent, &reply->new_parent);
	/* The kernel keeps the entry for as long as it was allowed to under the old name. */
	if (thread->client->validity->leases && !thread->request.leased) {
		invalidator_expire(thread->client->invalidator, request->new_parent, &request->new_name);
		if ((request->flags & PROTO_RENAME_EXCHANGE) != 0)
			invalidator_expire(thread->client->invalidator, request->parent, &request->name);
	}
}

/* Whether the old name leads nowhere now. Of two names of one object none is removed (rename(2)). */
static bool moves_away(const struct proto_rename_request *request, const struct proto_rename_reply *reply)
{
	return (request->flags & (PROTO_RENAME_EXCHANGE | PROTO_RENAME_WHITEOUT)) == 0 && reply->node != 0 &&
	       reply->node != reply->replaced;
}

static void rename_name(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                        const char *new_name, unsigned flags)
{
	struct thread *thread = thread_current();
	struct proto_rename_request request = { .parent = wire(thread, parent),
		                                .new_parent = wire(thread, new_parent) };
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
		scan_changing(thread->client, request.parent, name);
		scan_changing(thread->client, request.new_parent, new_name);
		r = rpc_rename(&thread->request, &request, &reply);
		scan_changed(thread->client, request.new_parent, new_name, false);
		scan_changed(thread->client, request.parent, name, r == 0 && moves_away(&request, &reply));
	}
	if (r == 0)
		renamed(thread, &request, &reply);
	reply_error(req, r);
}

static void link_name(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct thread *thread = thread_current();
	struct proto_link_request request = { .node = wire(thread, ino), .parent = wire(thread, new_parent) };
	struct proto_link_reply reply;
	int r = proto_name_set(&request.name, new_name);

	if (r == 0) {
		scan_changing(thread->client, request.parent, new_name);
		r = rpc_link(&thread->request, &request, &reply);
		scan_changed(thread->client, request.parent, new_name, false);
	}
	if (r == 0)
		effects_changed(thread, request.node);
	reply_made(thread, req, r, request.parent, new_name, &reply.entry, &reply.parent);
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
	ops->rmdir = rmdir_name;
	ops->rename = rename_name;
	ops->link = link_name;
}
