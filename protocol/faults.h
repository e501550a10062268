/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault injection, for tests: named points at system calls and allocations that can be made to fail, to do less than
 * they were asked for, or to take long. Only with the build option "faults"; without it each form below is the plain
 * call and nothing of this is in the programs. The points are in faults.def; docs/TESTING.md has the syntax of rules.
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
 * Takes rules in place of the earlier ones, and counts from 0 again: "worker.write:2:ENOSPC,channel.send:1+:short=3".
 * Empty: none. 0, or -EINVAL with words in error.
 */
int faults_arm(const char *rules, char *error, size_t error_size);
/* How often a rule was carried out since then. */
unsigned faults_fired(void);
/* How often the point was passed since then. */
unsigned long faults_passed(enum faults_point point);
const char *faults_name(enum faults_point point);
/* At a program's start: takes the rules in $BINDSHARE_FAULTS. False, and it has said why, when they make no sense. */
bool faults_start(void);

/* The calling thread is at a point: waits when it is told to. An errno: the call is to fail with it; 0: it is made. */
int faults_at(enum faults_point point);
/* The same for a call that moves *size bytes, which may become fewer. */
int faults_at_size(enum faults_point point, size_t *size);
/* The same for buffers, whose lengths go into kept and are put back after the call. */
int faults_at_buffers(enum faults_point point, struct iovec *iov, size_t count, size_t *kept);
void faults_put_back(struct iovec *iov, size_t count, const size_t *kept);
/* Sets errno and returns true, unless error is 0. */
bool faults_set_errno(int error);

enum { FAULTS_BUFFERS = 4 };

/* A call that returns -1 (or MAP_FAILED) and sets errno. */
#define FAULT(POINT, call) (faults_set_errno(faults_at(FAULTS_##POINT)) ? (__typeof__(call)) -1 : (call))
/* The same, of a call that moves at most size bytes; size is a variable that the call uses. */
#define FAULT_SIZE(POINT, size, call)                                                                                  \
	(faults_set_errno(faults_at_size(FAULTS_##POINT, &(size))) ? (__typeof__(call)) -1 : (call))
/* The same, of a call that moves data of count buffers. */
#define FAULT_BUFFERS(POINT, iov, count, call)                                                                         \
	({                                                                                                             \
		size_t kept_[FAULTS_BUFFERS];                                                                          \
		int fault_ = faults_at_buffers(FAULTS_##POINT, (iov), (count), kept_);                                 \
		__typeof__(call) result_ = faults_set_errno(fault_) ? -1 : (call);                                     \
		faults_put_back((iov), (count), kept_);                                                                \
		result_;                                                                                               \
	})
/* A call that returns NULL for want of memory. */
#define FAULT_NULL(POINT, call) (faults_set_errno(faults_at(FAULTS_##POINT)) ? NULL : (call))
/* A call that returns the error's number, as pthread_create() does. */
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
