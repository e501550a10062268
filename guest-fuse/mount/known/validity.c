/* SPDX-License-Identifier: Apache-2.0 */
/* How long the kernel may keep what the server said. */
#include "guest-fuse/mount/known/validity.h"

#include "guest-fuse/mount/known/file-binds.h"
#include "protocol/clock.h"

#define VALIDITY_SECONDS 1.0
#define AHEAD_SECONDS    0.1

void validity_init(struct validity *validity, bool cache, struct file_binds *file_binds)
{
	*validity = (struct validity){ .seconds = cache ? VALIDITY_SECONDS : 0.0, .file_binds = file_binds };
}

static double left_of(double seconds, int64_t since)
{
	double left = seconds - (double) (clock_ns() - since) / 1e9;

	return left > 0 ? left : 0;
}

double validity_left(const struct validity *validity, int64_t since)
{
	return left_of(validity->seconds, since);
}

double validity_negative(const struct validity *validity, int64_t since)
{
	return validity_left(validity, since);
}

static double of_node(const struct validity *validity, uint64_t node, double left)
{
	return file_binds_has(validity->file_binds, node) ? 0 : left;
}

double validity_attributes(const struct validity *validity, uint64_t node, int64_t since)
{
	return of_node(validity, node, validity_left(validity, since));
}

void validity_entry(const struct validity *validity, uint64_t node, int64_t since, double *ret_name,
                    double *ret_attributes)
{
	*ret_name = validity_left(validity, since);
	*ret_attributes = of_node(validity, node, *ret_name);
}

bool validity_contents(const struct validity *validity, uint64_t node)
{
	return validity->seconds > 0 && !file_binds_has(validity->file_binds, node);
}

bool validity_ahead(const struct validity *validity)
{
	return validity->seconds > 0;
}

double validity_ahead_left(int64_t since)
{
	return left_of(AHEAD_SECONDS, since);
}
