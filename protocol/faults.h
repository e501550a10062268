/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault injection, for tests: named points at system calls and allocations that can be made to fail, to move fewer
 * bytes than they were asked for, or to take long. Only with the build option "faults"; without it each macro below is
 * the plain call. The points are in faults.def; docs/TESTING.md has the syntax of rules.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#ifdef BINDSHARE_WITH_FAULTS

enum { FAULTS_BUILT = 1 };

enum faults_point {
#define POINT(SYMBOL, name, sized, doc) FAULTS_##SYMBOL,
#include "protocol/faults.def"
#undef POINT
	FAULTS_COUNT,
};

/*
 * Replaces the rules and resets all counts: "worker.write:2:ENOSPC,channel.send:1+:short=3". An empty string removes
 * them. Returns 0, or -EINVAL and a message in error.
 */
int faults_arm(const char *rules, char *error, size_t error_size);
/* How many faults have been injected since faults_arm(). */
unsigned faults_fired(void);
/* How often the point was reached since faults_arm(). */
unsigned long faults_passed(enum faults_point point);
const char *faults_name(enum faults_point point);
/* At a program's start: arms the rules in $BINDSHARE_FAULTS. Returns false, after a message, when they are invalid. */
bool faults_start(void);

/*
 * The calling thread has reached a point: sleeps if a rule says so. Returns the errno to fail with, or 0: make the
 * call.
 */
int faults_at(enum faults_point point);
/* The same for a call that moves *size bytes, which a rule may reduce. */
int faults_at_size(enum faults_point point, size_t *size);
/* The same for a list of buffers. Their lengths are saved in kept; faults_put_back() restores them after the call. */
int faults_at_buffers(enum faults_point point, struct iovec *iov, size_t count, size_t *kept);
void faults_put_back(struct iovec *iov, size_t count, const size_t *kept);
/* Sets errno and returns true, unless error is 0. */
bool faults_set_errno(int error);

enum { FAULTS_BUFFERS = 4 };

/* For a call that returns -1 (or MAP_FAILED) and sets errno. */
#define FAULT(POINT, call) (faults_set_errno(faults_at(FAULTS_##POINT)) ? (__typeof__(call)) -1 : (call))
/* The same for a call that moves at most size bytes; size is a variable that the call uses. */
#define FAULT_SIZE(POINT, size, call)                                                                                  \
	(faults_set_errno(faults_at_size(FAULTS_##POINT, &(size))) ? (__typeof__(call)) -1 : (call))
/* The same for a call that moves the data of count buffers. */
#define FAULT_BUFFERS(POINT, iov, count, call)                                                                         \
	({                                                                                                             \
		size_t kept_[FAULTS_BUFFERS];                                                                          \
		int fault_ = faults_at_buffers(FAULTS_##POINT, (iov), (count), kept_);                                 \
		__typeof__(call) result_ = faults_set_errno(fault_) ? -1 : (call);                                     \
		faults_put_back((iov), (count), kept_);                                                                \
		result_;                                                                                               \
	})
/* For a call that returns NULL when there is no memory. */
#define FAULT_NULL(POINT, call) (faults_set_errno(faults_at(FAULTS_##POINT)) ? NULL : (call))
/* For a call that returns the error number, as pthread_create(3) does. */
#define FAULT_NUMBER(POINT, call)                                                                                      \
	({                                                                                                             \
		int fault_ = faults_at(FAULTS_##POINT);                                                                \
		fault_ != 0 ? fault_ : (call);                                                                         \
	})

#else

enum { FAULTS_BUILT = 0 };

#define faults_start() true

#define FAULT(POINT, call)                     (call)
#define FAULT_SIZE(POINT, size, call)          (call)
#define FAULT_BUFFERS(POINT, iov, count, call) (call)
#define FAULT_NULL(POINT, call)                (call)
#define FAULT_NUMBER(POINT, call)              (call)

#endif
