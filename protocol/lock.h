/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks whose use the compiler checks: clang's thread safety analysis (-Wthread-safety) compares the locks that a
 * function requires with those that its callers hold. For other compilers they are plain mutexes.
 *
 *	static void drop(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
 *
 * An attribute can name parameters only in a declaration, so a static function has one before its definition. What a
 * lock guards is said in a comment beside it: clang before 18 has no attribute for members of a struct in C.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#ifdef __clang__
#define LOCK_ATTRIBUTE(...) __attribute__((__VA_ARGS__))
#else
#define LOCK_ATTRIBUTE(...)
#endif

/* The caller must hold it. */
#define LOCK_HELD(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
/* The function returns with it held; the function releases it. */
#define LOCK_TAKES(...)         LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define LOCK_GIVES(...)         LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
#define LOCK_TAKES_TO_READ(...) LOCK_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define LOCK_GIVES_READ(...)    LOCK_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
/* The function has taken it when it returns result. */
#define LOCK_TAKES_IF(result, ...) LOCK_ATTRIBUTE(try_acquire_capability(result, __VA_ARGS__))

struct LOCK_ATTRIBUTE(capability("mutex")) lock {
	pthread_mutex_t mutex; /* for pthread_cond_wait() */
};

/* Many readers or one writer. */
struct LOCK_ATTRIBUTE(capability("rwlock")) lock_rw {
	pthread_rwlock_t rwlock;
};

#define LOCK_INITIALIZER                                                                                               \
	{                                                                                                              \
		PTHREAD_MUTEX_INITIALIZER                                                                              \
	}

static inline void lock_init(struct lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
}

static inline void lock_done(struct lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

/* A condition for lock_wait() and lock_wait_until(), whose times are of CLOCK_MONOTONIC (clock_deadline_ms()). */
static inline void lock_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

static inline void lock_take(struct lock *lock) LOCK_TAKES(*lock);
static inline bool lock_try(struct lock *lock) LOCK_TAKES_IF(true, *lock);
static inline void lock_give(struct lock *lock) LOCK_GIVES(*lock);
/* As pthread_cond_wait() and pthread_cond_timedwait(). */
static inline void lock_wait(struct lock *lock, pthread_cond_t *condition) LOCK_HELD(*lock);
static inline int lock_wait_until(struct lock *lock, pthread_cond_t *condition, const struct timespec *until)
        LOCK_HELD(*lock);

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_take(struct lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline bool lock_try(struct lock *lock)
{
	return pthread_mutex_trylock(&lock->mutex) == 0;
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_give(struct lock *lock)
{
	pthread_mutex_unlock(&lock->mutex);
}

static inline void lock_wait(struct lock *lock, pthread_cond_t *condition)
{
	pthread_cond_wait(condition, &lock->mutex);
}

static inline int lock_wait_until(struct lock *lock, pthread_cond_t *condition, const struct timespec *until)
{
	return pthread_cond_timedwait(condition, &lock->mutex, until);
}

static inline void lock_rw_init(struct lock_rw *lock)
{
	pthread_rwlock_init(&lock->rwlock, NULL);
}

static inline void lock_rw_done(struct lock_rw *lock)
{
	pthread_rwlock_destroy(&lock->rwlock);
}

static inline void lock_rw_take(struct lock_rw *lock) LOCK_TAKES(*lock);
static inline void lock_rw_give(struct lock_rw *lock) LOCK_GIVES(*lock);
static inline void lock_rw_take_to_read(struct lock_rw *lock) LOCK_TAKES_TO_READ(*lock);
static inline void lock_rw_give_read(struct lock_rw *lock) LOCK_GIVES_READ(*lock);

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_rw_take(struct lock_rw *lock)
{
	pthread_rwlock_wrlock(&lock->rwlock);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_rw_give(struct lock_rw *lock)
{
	pthread_rwlock_unlock(&lock->rwlock);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_rw_take_to_read(struct lock_rw *lock)
{
	pthread_rwlock_rdlock(&lock->rwlock);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) static inline void lock_rw_give_read(struct lock_rw *lock)
{
	pthread_rwlock_unlock(&lock->rwlock);
}
