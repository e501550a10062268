/* SPDX-License-Identifier: Apache-2.0 */
/* Changes from here of which the kernel was not told. */
#include "guest-fuse/mount/kernel/unheard.h"

#include <linux/fuse.h>
#include <string.h>

#include "guest-fuse/mount/kernel/invalidator.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/validity.h"

/* text: of the request, which ends with a zero byte. */
static void name(struct thread *thread, uint64_t ino, const char *text)
{
	struct proto_name name;

	if (proto_name_set(&name, text) == 0)
		invalidator_drop_names(thread->client->invalidator, client_node(thread->client, ino), &name);
}

static void object(struct thread *thread, uint64_t ino)
{
	invalidator_drop(thread->client->invalidator, client_node(thread->client, ino));
}

static void renamed(struct thread *thread, uint64_t new_directory, const char *names)
{
	name(thread, request_header(&thread->request)->nodeid, names);
	name(thread, new_directory, names + strlen(names) + 1);
}

void unheard_end(struct thread *thread)
{
	const struct fuse_in_header *in = request_header(&thread->request);
	const void *argument = request_argument(&thread->request);

	if (!thread->client->validity->leases)
		return;
	switch (in->opcode) {
	case FUSE_CREATE:
		name(thread, in->nodeid, (const char *) argument + sizeof(struct fuse_create_in));
		break;
	case FUSE_LINK:
		object(thread, ((const struct fuse_link_in *) argument)->oldnodeid);
		name(thread, in->nodeid, (const char *) argument + sizeof(struct fuse_link_in));
		break;
	case FUSE_MKDIR:
		name(thread, in->nodeid, (const char *) argument + sizeof(struct fuse_mkdir_in));
		break;
	case FUSE_MKNOD:
		name(thread, in->nodeid, (const char *) argument + sizeof(struct fuse_mknod_in));
		break;
	case FUSE_RENAME:
		renamed(thread, ((const struct fuse_rename_in *) argument)->newdir,
		        (const char *) argument + sizeof(struct fuse_rename_in));
		break;
	case FUSE_RENAME2:
		renamed(thread, ((const struct fuse_rename2_in *) argument)->newdir,
		        (const char *) argument + sizeof(struct fuse_rename2_in));
		break;
	case FUSE_RMDIR:
	case FUSE_SYMLINK:
	case FUSE_UNLINK:
		name(thread, in->nodeid, argument);
		break;
	case FUSE_COPY_FILE_RANGE:
		object(thread, ((const struct fuse_copy_file_range_in *) argument)->nodeid_out);
		break;
	case FUSE_FALLOCATE:
	case FUSE_OPEN: /* with O_TRUNC */
	case FUSE_REMOVEXATTR:
	case FUSE_SETATTR:
	case FUSE_SETXATTR:
	case FUSE_WRITE:
		object(thread, in->nodeid);
		break;
	default:
		return;
	}
	for (size_t i = 0; i < REQUEST_CHANGED && thread->request.changed[i] != 0; i++)
		invalidator_drop(thread->client->invalidator, thread->request.changed[i]);
}
