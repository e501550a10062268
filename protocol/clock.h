/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, and the time structures that system calls take. */
#pragma once

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

enum { CLOCK_MS_PER_S = 1000, CLOCK_US_PER_S = 1000000, CLOCK_NS_PER_S = 1000000000 };

/* CLOCK_MONOTONIC, which never goes back: for deadlines, pauses and durations. */
static inline int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

static inline int64_t clock_us(void)
{
	return clock_ns() / 1000;
}

static inline int64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

/* The same in ticks of up to 10 ms, for a third of the cost: for what runs on every request. */
static inline int64_t clock_coarse_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t) now.tv_sec * CLOCK_MS_PER_S + now.tv_nsec / 1000000;
}

/* CLOCK_REALTIME, which may be set and go back: to show to people, never for arithmetic. */
static inline struct timespec clock_date(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

/* A duration (>= 0) for ppoll(2), nanosleep(2) and the like. */
static inline struct timespec clock_timespec_us(int64_t us)
{
	return (struct timespec){ .tv_sec = us / CLOCK_US_PER_S, .tv_nsec = us % CLOCK_US_PER_S * 1000 };
}

static inline struct timespec clock_timespec_ms(int64_t ms)
{
	return (struct timespec){ .tv_sec = ms / CLOCK_MS_PER_S, .tv_nsec = ms % CLOCK_MS_PER_S * 1000000 };
}

/* The same for the socket options SO_RCVTIMEO and SO_SNDTIMEO, where 0 means no limit. */
static inline struct timeval clock_timeval_ms(int64_t ms)
{
	return (struct timeval){ .tv_sec = ms / CLOCK_MS_PER_S, .tv_usec = ms % CLOCK_MS_PER_S * 1000 };
}

/* CLOCK_MONOTONIC ms milliseconds from now, for conditions that lock_condition_init() (lock.h) made. */
static inline struct timespec clock_deadline_ms(int64_t ms)
{
	int64_t ns = clock_ns() + ms * 1000000;

	return (struct timespec){ .tv_sec = ns / CLOCK_NS_PER_S, .tv_nsec = ns % CLOCK_NS_PER_S };
}
