/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of the shares: the record, the table that decisions are made by, status. */
#include "guest-fuse/agent/mounts-internal.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "guest-fuse/agent/mounts-record.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"

const char *mounts_entry_mount(const struct mounts_entry *entry)
{
	return entry->is_apart ? entry->mountpoint.apart : entry->mountpoint.mount;
}

void mounts_keep_record(const struct mounts *mounts)
{
	struct mounts_record record = { .address = mounts->config->address_text, .root = mounts->config->root };
	struct mounts_entry *entry;
	char error[PATH_MAX + 256];
	int count;

	DL_COUNT(mounts->entries, entry, count);
	record.shares = calloc((size_t) count + 1, sizeof(*record.shares));
	if (record.shares == NULL) {
		log_warning("what is mounted cannot be recorded: there is no memory");
		return;
	}
	DL_FOREACH (mounts->entries, entry) {
		/* A thread that is at it changes what it has made. */
		struct made *made = mount_state_is_busy(entry->state) ? NULL : &entry->mountpoint.made;

		if (mount_state_is_present(entry->state))
			record.shares[record.count++] = (struct mounts_record_share){
				.path = entry->share.path,
				.canonical = entry->share.canonical,
				.flags = entry->share.flags,
				.made = made == NULL ? NULL : made->paths,
				.made_count = made == NULL ? 0 : made->count,
			};
	}
	if (mounts_record_write(mounts->config->run_directory, &record, error, sizeof(error)) < 0)
		log_warning("what is mounted cannot be recorded: %s", error);
	free(record.shares); /* all else is borrowed */
}

bool mounts_are_settled(const struct mounts *mounts)
{
	const struct mounts_entry *entry;

	DL_FOREACH (mounts->entries, entry) {
		if (entry->wish == MOUNT_WISH_SERVED && !entry->tried)
			return false;
	}
	return mounts->phase != MOUNTS_UNKNOWN;
}

static enum binds_state state_of(const struct mounts_entry *entry)
{
	if (entry->share.state == PROTO_SHARE_MISSING)
		return BINDS_MISSING;
	if (entry->share.state == PROTO_SHARE_REPLACED)
		return BINDS_REPLACED;
	return mount_state_for_binds(entry->state);
}

int mounts_table(const struct mounts *mounts, struct binds_table *ret_table)
{
	struct binds_table table = { .known = mounts->phase != MOUNTS_UNKNOWN };
	const struct mounts_entry *entry;
	int count;

	DL_COUNT(mounts->entries, entry, count);
	table.shares = calloc((size_t) count + 1, sizeof(*table.shares));
	if (table.shares == NULL)
		return -ENOMEM;
	DL_FOREACH (mounts->entries, entry) {
		struct binds_share *share = &table.shares[table.count];

		if (entry->wish == MOUNT_WISH_DROPPED)
			continue;
		table.count++;
		*share = (struct binds_share){
			.path = strdup(entry->share.path),
			.canonical = strdup(entry->share.canonical),
			.mount = strdup(mounts_entry_mount(entry)),
			.state = state_of(entry),
			.read_only = (entry->share.flags & PROTO_SHARE_READ_ONLY) != 0,
			.identical = entry->identical,
			.idmap = (entry->share.flags & PROTO_SHARE_PERMISSIONS_HOST) == 0,
			.error = entry->error[0] != '\0' ? strdup(entry->error) : NULL,
		};
		if (share->path == NULL || share->canonical == NULL || share->mount == NULL) {
			binds_table_done(&table);
			return -ENOMEM;
		}
	}
	*ret_table = table;
	return 0;
}

json_t *mounts_json(const struct mounts *mounts)
{
	const struct mounts_entry *entry;
	json_t *list = json_array();

	DL_FOREACH (mounts->entries, entry) {
		/* A path that is no UTF-8 JSON cannot carry: such a share is left out. */
		json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:s, s:b, s:s?}", "path", entry->share.path,
		                           "canonical", entry->share.canonical, "mount", mounts_entry_mount(entry),
		                           "identical", entry->identical, "state", binds_state_name(state_of(entry)),
		                           "readOnly", (entry->share.flags & PROTO_SHARE_READ_ONLY) != 0, "error",
		                           entry->error[0] != '\0' ? entry->error : NULL);

		if (object != NULL && entry->wish != MOUNT_WISH_DROPPED)
			(void) json_array_append_new(list, object);
		else
			json_decref(object);
	}
	return list;
}
