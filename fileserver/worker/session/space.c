/* SPDX-License-Identifier: Apache-2.0 */
/* The reserve on the host's disk, which the guest cannot use. */
#include "fileserver/worker/session/space.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fileserver/worker/nodes/nodes.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum {
	SPACE_CHECK_MS = 200,   /* longest delay, in ms, until room taken by others is noticed */
	SPACE_PARTS = 64,       /* most sessions of one server */
	SPACE_NAME = 16 * 1024, /* a block each for the directory, its index, the object and its record */
	SPACE_BLOCK = 4096,
	ORPHANS_MAX = 64,
	CLOSING_US = 1000,
};

void space_init(struct space *space, struct nodes *nodes, uint64_t reserve)
{
	*space = (struct space){ .nodes = nodes, .reserve = reserve };
	lock_init(&space->lock);
}

void space_done(struct space *space)
{
	lock_done(&space->lock);
}

static uint64_t less(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

void space_hide_reserve(const struct space *space, struct statvfs *st)
{
	uint64_t fragment = st->f_frsize == 0 ? 1 : st->f_frsize, blocks = space->reserve / fragment;

	if (space->reserve == 0)
		return;
	if (blocks < st->f_blocks / 50)
		blocks = st->f_blocks / 50;
	if (blocks > st->f_blocks / 20)
		blocks = st->f_blocks / 20;
	st->f_bavail = less(st->f_bavail, blocks);
	/* The guest gets only one number of free inodes: how many others than root may use. */
	st->f_favail = st->f_ffree = less(st->f_favail, st->f_files / 50);
}

/* Returns the room that the guest may use on the file system of fd. It may block: never call it under a lock. */
static int ask(const struct space *space, int fd, uint64_t *ret_bytes, uint64_t *ret_files)
{
	struct statvfs st;

	if (FAULT(WORKER_SPACE, fstatvfs(fd, &st)) < 0)
		return -errno;
	space_hide_reserve(space, &st);
	/* Some file systems count no blocks (ramfs), some no inodes (btrfs). */
	*ret_bytes = st.f_blocks == 0 ? INT64_MAX : (uint64_t) st.f_bavail * st.f_frsize;
	*ret_files = st.f_files == 0 ? UINT32_MAX : st.f_favail;
	return 0;
}

static struct space_disk *disk_of(struct space *space, uint64_t device)
{
	return &space->disks[device % SPACE_DISKS];
}

static bool take_known(struct space *space, uint64_t device, uint64_t bytes, uint64_t files) LOCK_HELD(space->lock);
/* Takes from the room that was handed out before. Returns false when that is not enough, or too old. */
static bool take_known(struct space *space, uint64_t device, uint64_t bytes, uint64_t files)
{
	struct space_disk *disk = disk_of(space, device);

	if (disk->device != device || disk->checked == 0 || clock_coarse_ms() - disk->checked >= SPACE_CHECK_MS ||
	    disk->bytes < bytes || disk->files < files)
		return false;
	disk->bytes -= bytes;
	disk->files -= files;
	return true;
}

static uint64_t take_new(struct space *space, uint64_t device, uint64_t bytes, uint64_t files, uint64_t wanted,
                         uint64_t wanted_files) LOCK_HELD(space->lock);
/* Takes from the room that the file system has just reported. Returns the number of bytes; 0: none. */
static uint64_t take_new(struct space *space, uint64_t device, uint64_t bytes, uint64_t files, uint64_t wanted,
                         uint64_t wanted_files)
{
	struct space_disk *disk = disk_of(space, device);
	uint64_t part, given;

	bytes = less(bytes, disk->in_bytes);
	files = less(files, disk->in_files);
	if (bytes == 0 || files < wanted_files)
		return 0;
	part = bytes / SPACE_PARTS;
	given = part > SPACE_STEP ? part : SPACE_STEP;
	given = given < bytes ? given : bytes;
	given = given < wanted ? given : wanted;
	disk->device = device;
	disk->checked = clock_coarse_ms();
	disk->bytes = less(part, given);
	disk->files = less(files / SPACE_PARTS, wanted_files);
	return given;
}

static int claim_once(struct space *space, uint64_t device, int fd, uint64_t wanted, uint64_t least,
                      struct space_claim *claim)
{
	struct space_disk *disk = disk_of(space, device);
	uint64_t bytes = 0, files = 0, given = wanted;
	bool known;
	int r = 0;

	lock_take(&space->lock);
	known = take_known(space, device, wanted, claim->files);
	if (!known) {
		lock_give(&space->lock);
		r = ask(space, fd, &bytes, &files);
		lock_take(&space->lock);
		given = r < 0 ? 0 : take_new(space, device, bytes, files, wanted, claim->files);
	}
	given = given < least ? 0 : given;
	if (given > 0) {
		claim->disk = disk;
		claim->bytes = given;
		disk->in_bytes += given;
		disk->in_files += claim->files;
	}
	lock_give(&space->lock);
	return r < 0 ? r : given == 0 ? -ENOSPC : 0;
}

/*
 * Objects that the guest has just removed occupy room until its kernel sends FORGET, one after the other, and until
 * their descriptors are closed a moment later. Returns whether asking again makes sense, after waited earlier tries.
 */
static bool room_comes(struct space *space, int waited)
{
	bool comes = waited < ORPHANS_MAX && nodes_wait_for_orphans(space->nodes);

	if (comes || waited == 0)
		(void) usleep(CLOSING_US);
	return comes || waited == 0;
}

static int claim(struct space *space, struct node *node, int fd, uint64_t wanted, uint64_t least,
                 struct space_claim *ret_claim)
{
	int r;

	ret_claim->disk = NULL;
	ret_claim->bytes = wanted;
	if (space->reserve == 0 || wanted == 0)
		return 0;
	r = claim_once(space, nodes_device(node), fd, wanted, least, ret_claim);
	for (int waited = 0; r == -ENOSPC && room_comes(space, waited); waited++)
		r = claim_once(space, nodes_device(node), fd, wanted, least, ret_claim);
	return r;
}

int space_claim(struct space *space, struct node *node, int fd, uint64_t wanted, struct space_claim *ret_claim)
{
	*ret_claim = (struct space_claim){ .files = 0 };
	return claim(space, node, fd, wanted, 1, ret_claim);
}

int space_claim_name(struct space *space, struct node *node, int fd, struct space_claim *ret_claim)
{
	*ret_claim = (struct space_claim){ .files = 1 };
	return claim(space, node, fd, SPACE_NAME, SPACE_NAME, ret_claim);
}

int space_claim_attribute(struct space *space, struct node *node, int fd, size_t size, struct space_claim *ret_claim)
{
	*ret_claim = (struct space_claim){ .files = 0 };
	return claim(space, node, fd, size + SPACE_BLOCK, size + SPACE_BLOCK, ret_claim);
}

void space_settle(struct space *space, struct space_claim *claim)
{
	if (claim->disk == NULL)
		return;
	lock_take(&space->lock);
	claim->disk->in_bytes -= claim->bytes;
	claim->disk->in_files -= claim->files;
	lock_give(&space->lock);
	claim->disk = NULL;
}

int space_fits(struct space *space, struct node *node, int fd, uint64_t wanted)
{
	struct space_disk *disk = disk_of(space, nodes_device(node));
	uint64_t bytes = 0, files = 0;
	int r;

	if (space->reserve == 0)
		return 0;
	for (int waited = 0;; waited++) {
		r = ask(space, fd, &bytes, &files);
		if (r < 0)
			return r;
		lock_take(&space->lock);
		bytes = less(bytes, disk->in_bytes);
		lock_give(&space->lock);
		if (bytes >= wanted)
			return 0;
		if (!room_comes(space, waited))
			return -ENOSPC;
	}
}
