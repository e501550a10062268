/* SPDX-License-Identifier: Apache-2.0 */
/* Decides which thread may poll before it sleeps. */
#include "spin.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "protocol/clock.h"

static pthread_once_t counted = PTHREAD_ONCE_INIT;
static int most;
static _Atomic int looking;

static void count_cpus(void)
{
	cpu_set_t set;

	/*
	 * Of the process's first thread: others may be bound to a CPU. Fails on machines with more CPUs than a
	 * cpu_set_t holds.
	 */
	most = (sched_getaffinity(getpid(), sizeof(set), &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE) / 2;
}

unsigned proto_spin_places(void)
{
	(void) pthread_once(&counted, count_cpus);
	return most < 1 ? 1 : (unsigned) most;
}

bool proto_spin_begin(struct proto_spin *spin, unsigned others)
{
	if (others > 0)
		return false;
	if (spin->left > 0) {
		spin->left--;
		return false;
	}
	(void) pthread_once(&counted, count_cpus);
	if (atomic_fetch_add_explicit(&looking, 1, memory_order_relaxed) >= most) {
		atomic_fetch_sub_explicit(&looking, 1, memory_order_relaxed);
		return false;
	}
	spin->until = clock_ns() + PROTO_SPIN_NS;
	return true;
}

bool proto_spin_again(const struct proto_spin *spin)
{
	(void) sched_yield();
	return clock_ns() < spin->until;
}

void proto_spin_end(struct proto_spin *spin, bool found)
{
	atomic_fetch_sub_explicit(&looking, 1, memory_order_relaxed);
	spin->pause = found ? spin->pause / 2 : spin->pause == 0 ? 1 : spin->pause * 2;
	if (spin->pause > PROTO_SPIN_PAUSE_MAX)
		spin->pause = PROTO_SPIN_PAUSE_MAX;
	spin->left = spin->pause;
}
