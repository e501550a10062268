/* SPDX-License-Identifier: Apache-2.0 */
/* The owners of symbolic links. */
#include "fileserver/worker/host/link-owners.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/xattr-at.h"
#include "fileserver/worker/host/xattr-names.h"
#include "protocol/cleanup.h"

#define LINKS_XATTR XATTR_NAMES_PREFIX "links"

enum { CLEAR_ENTRIES = 4096 /* a larger directory is not searched: each new link would cost as much */ };

/* An entry in the attribute. */
struct link_entry {
	uint64_t ino, birth;
	uint32_t uid, gid;
};

_Static_assert(sizeof(struct link_entry) == 24, "no padding");

struct link_owners {
	struct link_entry entries[LINKS_MAX];
	size_t count;
};

static bool is_own_link(const struct session *session, const struct statx *stx)
{
	return S_ISLNK(stx->stx_mode) && stx->stx_uid == session->uid &&
	       (session->config.flags & PROTO_HELLO_OWNER_HOST) == 0;
}

static struct link_entry key_of(const struct statx *stx)
{
	uint64_t birth = 0;

	if ((stx->stx_mask & STATX_BTIME) != 0)
		birth = (uint64_t) stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec;
	return (struct link_entry){ .ino = htole64(stx->stx_ino), .birth = htole64(birth) };
}

/* Reads the attribute. Returns false when there is none or it cannot be read. */
static bool load(struct session *session, int directory, struct link_owners *ret_links)
{
	struct lift lift = LIFT_INIT(session);
	ssize_t n;

	lift.record = true;
	do
		n = xattr_at_get(directory, NULL, true, LINKS_XATTR, ret_links->entries, sizeof(ret_links->entries));
	while (lift_again(&lift, n < 0 ? (int) n : 0));
	ret_links->count = n < 0 ? 0 : (size_t) n / sizeof(ret_links->entries[0]);
	return ret_links->count > 0;
}

static int store(struct session *session, int directory, const struct link_owners *links)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	lift.record = true;
	do
		r = links->count == 0 ? xattr_at_remove(directory, LINKS_XATTR)
		                      : xattr_at_set(directory, LINKS_XATTR, links->entries,
		                                     links->count * sizeof(links->entries[0]), 0);
	while (lift_again(&lift, r));
	return r;
}

static struct link_entry *find(struct link_owners *links, const struct link_entry *key)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->entries[i].ino == key->ino && links->entries[i].birth == key->birth)
			return &links->entries[i];
	return NULL;
}

static void drop(struct link_owners *links, struct link_entry *entry)
{
	*entry = links->entries[--links->count];
}

/* Sets which entries have a link of their inode number in directory. Returns false when it is too large. */
static bool look_for(int directory, const struct link_owners *links, bool *ret_found)
{
	_cleanup_close_ int fd = resolve_reopen(directory, O_RDONLY | O_DIRECTORY);
	char bytes[8192] __attribute__((aligned(8)));
	unsigned seen = 0;
	long n = fd < 0 ? -1 : 0;

	memset(ret_found, 0, LINKS_MAX * sizeof(*ret_found));
	while (fd >= 0 && (n = getdents64(fd, bytes, sizeof(bytes))) > 0) {
		const struct dirent64 *entry;

		for (long at = 0; at < n; at += entry->d_reclen) {
			entry = (const void *) (bytes + at);
			if (++seen > CLEAR_ENTRIES)
				return false;
			for (size_t i = 0; i < links->count; i++)
				if (le64toh(links->entries[i].ino) == entry->d_ino)
					ret_found[i] = true;
		}
	}
	return n == 0;
}

static void clear_away(int directory, struct link_owners *links)
{
	bool found[LINKS_MAX];

	if (!look_for(directory, links, found))
		return;
	for (size_t i = links->count; i > 0; i--)
		if (!found[i - 1])
			drop(links, &links->entries[i - 1]);
}

static bool get(struct session *session, int directory, const struct statx *stx, struct link_entry *ret_entry)
{
	const struct link_entry key = key_of(stx), *entry;
	struct link_owners links;

	if (!load(session, directory, &links))
		return false;
	entry = find(&links, &key);
	if (entry != NULL)
		*ret_entry = (struct link_entry){ .uid = le32toh(entry->uid), .gid = le32toh(entry->gid) };
	/* 2^32-1 is no valid id. */
	return entry != NULL && ret_entry->uid != UINT32_MAX && ret_entry->gid != UINT32_MAX;
}

void link_owners_show(struct session *session, int directory, const struct statx *stx, struct proto_attr *attr)
{
	struct link_entry owner;

	if (!is_own_link(session, stx) || !get(session, directory, stx, &owner))
		return;
	attr->uid = owner.uid;
	attr->gid = owner.gid;
}

/* Returns a descriptor of the directory in which the node was last seen. Undone by parent_done(). */
static int parent_get(struct session *session, struct node *node, struct node **ret_parent, struct node_fd *ret_fd)
{
	int r = nodes_parent(session->nodes, node, ret_parent);

	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, *ret_parent, ret_fd);
	if (r < 0)
		nodes_put(session->nodes, *ret_parent);
	return r;
}

static void parent_done(struct session *session, struct node *parent, struct node_fd *fd)
{
	nodes_fd_done(session->nodes, fd);
	nodes_put(session->nodes, parent);
}

void link_owners_show_node(struct session *session, struct node *node, const struct statx *stx, struct proto_attr *attr)
{
	struct node *parent;
	struct node_fd fd;

	if (!is_own_link(session, stx) || parent_get(session, node, &parent, &fd) < 0)
		return;
	link_owners_show(session, fd.fd, stx, attr);
	parent_done(session, parent, &fd);
}

void link_owners_record(struct session *session, int directory, const struct statx *stx, uint32_t uid, uint32_t gid)
{
	bool plain = uid == session->config.view_uid && gid == session->config.view_gid;
	struct link_entry key = key_of(stx), *entry;
	struct link_owners links;

	if (!is_own_link(session, stx))
		return;
	key.uid = htole32(uid);
	key.gid = htole32(gid);
	lock_take(&session->link_owners_lock);
	(void) load(session, directory, &links);
	entry = find(&links, &key);
	if (entry == NULL && !plain && links.count == LINKS_MAX)
		clear_away(directory, &links);
	if (entry == NULL && !plain && links.count < LINKS_MAX)
		entry = &links.entries[links.count++];
	if (entry != NULL && plain)
		drop(&links, entry);
	else if (entry != NULL)
		*entry = key;
	if (entry != NULL)
		(void) store(session, directory, &links);
	lock_give(&session->link_owners_lock);
}

void link_owners_change(struct session *session, struct node *node, const struct statx *stx,
                        const struct proto_setattr *set)
{
	struct link_entry owner = { .uid = session->config.view_uid, .gid = session->config.view_gid };
	struct node *parent;
	struct node_fd fd;

	if (!is_own_link(session, stx) || parent_get(session, node, &parent, &fd) < 0)
		return;
	if (!get(session, fd.fd, stx, &owner)) {
		owner.uid = session->config.view_uid;
		owner.gid = session->config.view_gid;
	}
	link_owners_record(session, fd.fd, stx, (set->valid & PROTO_SET_UID) != 0 ? set->uid : owner.uid,
	                   (set->valid & PROTO_SET_GID) != 0 ? set->gid : owner.gid);
	parent_done(session, parent, &fd);
}

void link_owners_forget(struct session *session, int directory, const struct statx *stx)
{
	/* A link of the default owner needs no entry. */
	link_owners_record(session, directory, stx, session->config.view_uid, session->config.view_gid);
}

void link_owners_move(struct session *session, int from, int to, const struct statx *stx)
{
	struct link_entry owner;

	if (!is_own_link(session, stx) || !get(session, from, stx, &owner))
		return;
	link_owners_record(session, to, stx, owner.uid, owner.gid);
	/* With more links, the object may have another name in that directory. */
	if (stx->stx_nlink <= 1)
		link_owners_forget(session, from, stx);
}

void link_owners_copy(struct session *session, struct node *node, int to, const struct statx *stx)
{
	struct proto_attr attr = { .uid = session->config.view_uid, .gid = session->config.view_gid };

	link_owners_show_node(session, node, stx, &attr);
	link_owners_record(session, to, stx, attr.uid, attr.gid);
}
