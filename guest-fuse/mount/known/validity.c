/* SPDX-License-Identifier: Apache-2.0 */
/* How long the kernel may keep what the server said. */
#include "guest-fuse/mount/known/validity.h"

#include <sys/stat.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "protocol/clock.h"
#include "protocol/messages.h"

/* The server goes by these times when it says whether a change has been taken in. */
#define VALIDITY_SECONDS (PROTO_KEEP_MS / 1e3)
#define CHANGED_SECONDS  0.05
#define AHEAD_SECONDS    (PROTO_KEEP_BRIEFLY_MS / 1e3)

void validity_init(struct validity *validity, bool cache, bool leases, struct file_binds *file_binds, struct held *held)
{
	*validity = (struct validity){
		.seconds = cache ? VALIDITY_SECONDS : 0.0, .file_binds = file_binds, .held = held, .leases = leases
	};
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

/* holds: no INVALIDATE has come since. One that came says that the answer may be an old one. */
static double keep(const struct validity *validity, bool leased, bool holds, int64_t since)
{
	if (validity->seconds == 0 || !holds)
		return 0;
	return leased ? VALIDITY_FOR_EVER : validity_left(validity, since);
}

double validity_entries(const struct validity *validity, uint64_t directory, const struct answer *answer)
{
	return keep(validity, answer->leased, held_since(validity->held, directory, answer->events), answer->since);
}

double validity_negative(const struct validity *validity, uint64_t directory, const struct answer *answer)
{
	return validity_entries(validity, directory, answer);
}

static double of_node(const struct validity *validity, uint64_t node, double left)
{
	return left > 0 && file_binds_has(validity->file_binds, node) ? 0 : left;
}

double validity_attributes(const struct validity *validity, uint64_t node, const struct proto_attr *attr,
                           const struct answer *answer)
{
	bool leased = (attr->flags & PROTO_ATTR_LEASED) != 0;

	if (!S_ISDIR(attr->mode) && !held_quiet(validity->held, node))
		return 0;
	return of_node(validity, node,
	               keep(validity, leased, held_since(validity->held, node, answer->events), answer->since));
}

double validity_changed(const struct validity *validity, uint64_t node, const struct answer *answer)
{
	double left = validity_left(validity, answer->since);

	return of_node(validity, node, validity->leases && left > CHANGED_SECONDS ? CHANGED_SECONDS : left);
}

void validity_entry(const struct validity *validity, uint64_t directory, const struct proto_entry *entry,
                    const struct answer *answer, double *ret_name, double *ret_attributes)
{
	bool holds = held_since(validity->held, directory, answer->events),
	     leased = answer->leased && (validity->expires || !S_ISDIR(entry->attr.mode));

	*ret_name = keep(validity, leased, holds, answer->since);
	*ret_attributes = holds ? validity_attributes(validity, entry->node, &entry->attr, answer) : 0;
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
