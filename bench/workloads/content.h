/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a workload hold: made from a seed, so that what is read can be verified without keeping a copy. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Hashes of all files that were checked, into one. */
struct content_sum {
	uint64_t files, bytes, hash;
};

/* The 8 bytes at a position in the content of a seed; at is a multiple of 8. */
uint64_t content_word(uint64_t seed, uint64_t at);
/* size bytes of the content of a seed from position at on; at is a multiple of 8. */
void content_fill(void *buffer, size_t size, uint64_t seed, uint64_t at);
/* Writes a new file of that content. This and the next end the program on an error. */
void content_write(int directory, const char *name, uint64_t seed, uint64_t size);
/* Reads the file and compares its XXH3 with that of what it should hold. */
void content_check(int directory, const char *name, uint64_t seed, uint64_t size, struct content_sum *sum);
/* Compares the XXH3 of a buffer with that of what it should hold. */
void content_check_buffer(const void *buffer, size_t size, const char *name, uint64_t seed, uint64_t at);
/* Prints the row of what was verified. */
void content_report(const struct content_sum *sum);
