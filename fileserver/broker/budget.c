/* SPDX-License-Identifier: Apache-2.0 */
/* One budget for all mounts. */
#include "fileserver/broker/budget.h"

#include <errno.h>
#include <stdlib.h>

#include "fileserver/broker/supervisor.h"
#include "protocol/cleanup.h"

struct order {
	uint64_t need;
	size_t part;
};

static int by_need(const void *left, const void *right)
{
	const struct order *one = left, *other = right;

	return one->need < other->need ? -1 : one->need > other->need;
}

int budget_divide(uint64_t total, unsigned mounts_max, struct budget_part *parts, size_t count)
{
	_cleanup_free_ struct order *order = calloc(count + 1, sizeof(*order));
	uint64_t least = total / mounts_max > BUDGET_LEAST ? total / mounts_max : BUDGET_LEAST, left = total, rest;

	if (order == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		uint64_t need = parts[i].wants ? total : parts[i].used + parts[i].used / 4 + least;

		order[i] = (struct order){ .need = need < total ? need : total, .part = i };
	}
	qsort(order, count, sizeof(*order), by_need);
	for (size_t i = 0; i < count; i++) {
		uint64_t equal = left / (count - i), part = order[i].need < equal ? order[i].need : equal;

		if (part < least)
			part = least;
		parts[order[i].part].limit = part;
		left -= part < left ? part : left;
	}
	rest = count > 0 ? left / count : 0;
	for (size_t i = 0; i < count; i++)
		parts[i].limit += rest;
	return 0;
}

static void take_usage(const struct worker *worker, struct budget_part *nodes, struct budget_part *descriptors)
{
	const struct proto_counters *counters = worker->process.counters;

	/* The worker writes these: one that lies gets no more than the others leave. */
	*nodes = (struct budget_part){ .used = proto_counter_get(&counters->nodes), .wants = worker->wants_nodes };
	*descriptors = (struct budget_part){ .used = proto_counter_get(&counters->descriptors),
		                             .wants = worker->wants_descriptors };
	if (nodes->used > worker->nodes_limit)
		nodes->used = worker->nodes_limit;
	if (descriptors->used > worker->descriptors_limit)
		descriptors->used = worker->descriptors_limit;
}

static void tell(struct worker *worker, uint32_t nodes, uint32_t descriptors)
{
	const struct worker_message message = { .type = WORKER_LIMITS, .limits = { nodes, descriptors } };

	if (worker->nodes_limit == nodes && worker->descriptors_limit == descriptors)
		return;
	worker->nodes_limit = nodes;
	worker->descriptors_limit = descriptors;
	/* One that does not read has what it had, and is told the next time. */
	if (worker->process.channel >= 0 && process_send(&worker->process, &message, -1) < 0)
		worker->nodes_limit = 0;
}

/* Divides among the workers that are there and so many that are on their way. False: no memory. */
static bool divide(const struct supervisor *supervisor, struct budget_part *nodes, struct budget_part *descriptors,
                   size_t more)
{
	const struct worker_config *config = &supervisor->config;
	const struct worker *worker;
	size_t count = 0;

	for (worker = supervisor->workers; worker != NULL; worker = worker->next, count++)
		take_usage(worker, &nodes[count], &descriptors[count]);
	count += more;
	return budget_divide(config->nodes_max, supervisor->workers_max, nodes, count) == 0 &&
	       budget_divide(config->descriptors_max, supervisor->workers_max, descriptors, count) == 0;
}

void budget_first(struct worker *worker)
{
	const struct supervisor *supervisor = worker->supervisor;
	_cleanup_free_ struct budget_part *nodes = calloc(supervisor->count + 1, sizeof(*nodes));
	_cleanup_free_ struct budget_part *descriptors = calloc(supervisor->count + 1, sizeof(*descriptors));

	worker->nodes_limit = worker->descriptors_limit = BUDGET_LEAST;
	if (nodes == NULL || descriptors == NULL || !divide(supervisor, nodes, descriptors, 1))
		return;
	worker->nodes_limit = (uint32_t) nodes[supervisor->count].limit;
	worker->descriptors_limit = (uint32_t) descriptors[supervisor->count].limit;
}

void budget_apply(struct supervisor *supervisor)
{
	_cleanup_free_ struct budget_part *nodes = calloc(supervisor->count + 1, sizeof(*nodes));
	_cleanup_free_ struct budget_part *descriptors = calloc(supervisor->count + 1, sizeof(*descriptors));
	struct worker *worker;
	size_t i = 0;

	if (nodes == NULL || descriptors == NULL || !divide(supervisor, nodes, descriptors, 0))
		return;
	for (worker = supervisor->workers; worker != NULL; worker = worker->next, i++) {
		/* It wants no more when it has room again. */
		worker->wants_nodes = worker->wants_nodes && nodes[i].used > nodes[i].limit / 2;
		worker->wants_descriptors = worker->wants_descriptors && descriptors[i].used > descriptors[i].limit / 2;
		tell(worker, (uint32_t) nodes[i].limit, (uint32_t) descriptors[i].limit);
	}
}

void budget_wants(struct worker *worker)
{
	const struct proto_counters *counters = worker->process.counters;

	worker->wants_nodes = proto_counter_get(&counters->nodes) > worker->nodes_limit / 2;
	worker->wants_descriptors = proto_counter_get(&counters->descriptors) > worker->descriptors_limit / 2;
	budget_apply(worker->supervisor);
}

/* Those that serve, and those that are on their way to the worker. */
static uint64_t lanes_of(const struct worker *worker)
{
	uint64_t taken = proto_counter_get(&worker->process.counters->lanes_taken);

	return proto_counter_get(&worker->process.counters->lanes) +
	       (worker->lanes_sent > taken ? worker->lanes_sent - taken : 0);
}

bool budget_allows_lane(const struct supervisor *supervisor, const struct worker *worker)
{
	const struct worker *other;
	uint64_t shared = 0;

	if (lanes_of(worker) < BUDGET_LANES_OWN)
		return true;
	for (other = supervisor->workers; other != NULL; other = other->next) {
		uint64_t lanes = lanes_of(other);

		shared += lanes > BUDGET_LANES_OWN ? lanes - BUDGET_LANES_OWN : 0;
	}
	return shared < BUDGET_LANES_SHARED;
}
