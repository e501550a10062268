/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until the guests have taken in what was changed on the host. */
#include "fileserver/broker/uptake.h"

#include <string.h>
#include <utlist.h>

#include "fileserver/broker/supervisor.h"
#include "protocol/clock.h"

/* A guest's kernel counts in ticks, and from when it reads the answer. */
enum { MARGIN_MS = 100 };

/* The same directory, or one of them lies in the other. */
static bool have_common(const char *one, const char *other)
{
	size_t length = strlen(one) < strlen(other) ? strlen(one) : strlen(other);

	if (strncmp(one, other, length) != 0)
		return false;
	/* "/" ends in its slash. */
	return one[length] == other[length] || one[length] == '/' || other[length] == '/' || one[length - 1] == '/';
}

static bool concerns(const struct uptake *uptake, const struct worker *worker)
{
	return worker->born < uptake->ticket && (uptake->path[0] == '\0' || have_common(uptake->path, worker->path));
}

bool uptake_waits_for(const struct uptake *uptake, const struct worker *worker)
{
	return concerns(uptake, worker) && worker->synced < uptake->ticket;
}

/* Sends the newest ticket, unless an answer is still to come: then it is asked after that. */
static void ask(struct worker *worker)
{
	const struct worker_message message = { .type = WORKER_SYNC, .sync.ticket = worker->sync_wanted };

	/* Where it cannot be sent it counts as not answered. */
	if (worker->sync_asked == worker->synced && process_send(&worker->process, &message, -1) == 0)
		worker->sync_asked = worker->sync_wanted;
}

unsigned uptake_begin(struct supervisor *supervisor, struct uptake *uptake, uint32_t limit_ms)
{
	struct worker *worker;
	unsigned count = 0;

	uptake->ticket = ++supervisor->tickets;
	uptake->kept_until = 0;
	uptake->due = clock_ms() + limit_ms;
	DL_FOREACH (supervisor->workers, worker) {
		if (!concerns(uptake, worker))
			continue;
		count++;
		/* Of one that stops only the end counts. */
		if (worker->state == WORKER_STATE_STOPPING)
			continue;
		worker->sync_wanted = uptake->ticket;
		ask(worker);
	}
	DL_APPEND(supervisor->uptakes, uptake);
	return count;
}

void uptake_end(struct supervisor *supervisor, struct uptake *uptake)
{
	DL_DELETE(supervisor->uptakes, uptake);
}

bool uptake_answered(struct worker *worker, const struct worker_message *message)
{
	struct supervisor *supervisor = worker->supervisor;
	int64_t kept_until = clock_ms() + message->sync.kept_ms + MARGIN_MS;
	struct uptake *uptake;

	if (worker->sync_asked == worker->synced || message->sync.ticket != worker->sync_asked ||
	    message->sync.kept_ms > PROTO_KEEP_MS)
		return false;
	DL_FOREACH (supervisor->uptakes, uptake) {
		if (message->sync.kept_ms > 0 && uptake->ticket <= message->sync.ticket &&
		    uptake_waits_for(uptake, worker) && uptake->kept_until < kept_until)
			uptake->kept_until = kept_until;
	}
	worker->synced = message->sync.ticket;
	if (worker->sync_wanted > worker->synced)
		ask(worker);
	uptake_look(supervisor);
	return true;
}

void uptake_look(struct supervisor *supervisor)
{
	if (supervisor->uptakes != NULL && supervisor->uptake_changed != NULL)
		supervisor->uptake_changed(supervisor->context);
}
