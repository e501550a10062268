/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads. Each has up to three phases, run as processes of their own: prepare fills a directory, on the host;
 * run works in the directory and prints rows; verify looks on the host at what run has left. Errors end the program.
 */
#pragma once

#include <stdbool.h>

struct place {
	const char *path; /* of the directory */
	int directory;    /* the same, open */
	const char *host; /* where the host sees it, or NULL */
	bool quick;       /* a tenth or so of the work */
};

struct workload {
	const char *name, *title;
	void (*prepare)(const struct place *place);
	void (*run)(const struct place *place);
	void (*verify)(const struct place *place);
};

void micro_prepare(const struct place *place);
void micro_run(const struct place *place);

void tree_prepare(const struct place *place);
void tree_verify(const struct place *place);
void tree_walk(const struct place *place);
void tree_read(const struct place *place);
void tree_missing(const struct place *place);
void tree_remove(const struct place *place);
void tree_remove_verify(const struct place *place);
void create_run(const struct place *place);
void create_verify(const struct place *place);
void listing_prepare(const struct place *place);
void listing_run(const struct place *place);
void listing_large_prepare(const struct place *place);
void listing_large_run(const struct place *place);

void data_prepare(const struct place *place);
void data_verify(const struct place *place);
void data_write(const struct place *place);
void data_read(const struct place *place);
void data_random_read(const struct place *place);
void data_random_write(const struct place *place);
void data_random_write_verify(const struct place *place);
void data_map(const struct place *place);
void data_sync(const struct place *place);
void data_sync_verify(const struct place *place);
void data_append(const struct place *place);
void data_append_verify(const struct place *place);

void clients_prepare(const struct place *place);
void clients_run(const struct place *place);

void mixed_prepare(const struct place *place);
void mixed_run(const struct place *place);

void changes_run(const struct place *place);

/* No workload: prints the row of what is in the directory. */
void digest_run(const struct place *place);
