/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of mounts, RUN/state.json: what is in the guest, for a guestd after this one and for --unmount. It
 * outlives the process that wrote it, and no reboot.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct mounts_record_share {
	char *path, *canonical; /* on the host, as the server told of them */
	uint32_t flags;         /* PROTO_SHARE_* */
	char **made;            /* directories that were made for it, outermost first */
	size_t made_count;
};

struct mounts_record {
	char *address, *root; /* of the server, and beneath which directory its shares are mounted */
	struct mounts_record_share *shares;
	size_t count;
	size_t left_out; /* of mounts_record_read(): shares of which the file says nothing that could be undone */
};

/*
 * Reads the record of this run directory. 0 and what mounts_record_done() frees; -ENOENT: there is none; -EINVAL: it is
 * broken as a whole; -ENOMEM; or why the file cannot be read or believed; and words in error. A share with parts that
 * make no sense is left out, and counted.
 */
int mounts_record_read(const char *run_directory, struct mounts_record *ret_record, char *error, size_t error_size);

/*
 * Puts it in the place of the one before, in one step. A share whose path is no UTF-8, which JSON cannot carry, is left
 * out. 0, or a negative errno and words.
 */
int mounts_record_write(const char *run_directory, const struct mounts_record *record, char *error, size_t error_size);

/* NULL is nothing; so is one that was never filled in (all zero). */
void mounts_record_done(struct mounts_record *record);
