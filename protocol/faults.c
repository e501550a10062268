/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection: parses the rules and applies them at the points. Only with the build option "faults". */
#include "protocol/faults.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/lock.h"
#include "protocol/log.h"
#include "protocol/number.h"
#include "protocol/words.h"

enum { RULES_MAX = 16, DELAY_MAX_MS = 60000, ERRNO_MAX = 133 };

enum kind { KIND_ERRNO, KIND_SHORT, KIND_DELAY, KIND_FULL };

struct rule {
	enum faults_point point;
	enum kind kind;
	unsigned long first; /* number of the call that it applies to first, from 1 */
	bool ever;           /* and to every call after that */
	unsigned long value; /* errno, bytes, milliseconds, bytes that the disk has room for */
};

static const struct {
	const char *name;
	bool sized;
} points[FAULTS_COUNT] = {
#define POINT(SYMBOL, text, has_size, doc) [FAULTS_##SYMBOL] = { .name = text, .sized = has_size },
#include "protocol/faults.def"
#undef POINT
};

static struct lock lock = LOCK_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t rules_count;
static unsigned long times[FAULTS_COUNT];
static unsigned fired;

/* Parses a decimal number from 1 to max at the start of text. */
static bool parse_number(const char *text, unsigned long max, unsigned long *ret_value, const char **ret_end)
{
	uint64_t value;

	if (number_begin(text, 10, max, &value, ret_end) < 0 || value == 0)
		return false;
	*ret_value = value;
	return true;
}

static bool parse_errno(const char *text, unsigned long *ret_value)
{
	for (int number = 1; number <= ERRNO_MAX; number++) {
		const char *name = strerrorname_np(number);

		if (name != NULL && strcmp(name, text) == 0) {
			*ret_value = (unsigned long) number;
			return true;
		}
	}
	return false;
}

static bool parse_kind(const char *text, struct rule *rule)
{
	const char *end = "";

	if (strncmp(text, "short=", 6) == 0) {
		rule->kind = KIND_SHORT;
		return parse_number(text + 6, LONG_MAX, &rule->value, &end) && *end == '\0';
	}
	if (strncmp(text, "full=", 5) == 0) {
		rule->kind = KIND_FULL;
		rule->ever = true;
		return parse_number(text + 5, LONG_MAX, &rule->value, &end) && *end == '\0';
	}
	if (strncmp(text, "delay=", 6) == 0) {
		rule->kind = KIND_DELAY;
		return parse_number(text + 6, DELAY_MAX_MS, &rule->value, &end) && strcmp(end, "ms") == 0;
	}
	rule->kind = KIND_ERRNO;
	return parse_errno(text, &rule->value);
}

/* Parses one rule, "worker.write:2+:ENOSPC" for example. */
static int parse_rule(char *text, struct rule *ret_rule, char *error, size_t error_size)
{
	struct rule rule = { .point = FAULTS_COUNT };
	char *count = strchr(text, ':'), *kind = count == NULL ? NULL : strchr(count + 1, ':');
	const char *end;

	if (kind == NULL)
		return words_refuse(-EINVAL, error, error_size,
		                    "\"%s\" is no rule; write POINT:COUNT:WHAT, as in worker.write:2:EIO", text);
	*count++ = *kind++ = '\0';
	for (unsigned i = 0; i < FAULTS_COUNT; i++)
		if (strcmp(points[i].name, text) == 0)
			rule.point = i;
	if (rule.point == FAULTS_COUNT)
		return words_refuse(-EINVAL, error, error_size,
		                    "there is no point \"%s\"; protocol/faults.def has them all", text);
	if (!parse_number(count, LONG_MAX, &rule.first, &end) || (*end != '\0' && strcmp(end, "+") != 0))
		return words_refuse(-EINVAL, error, error_size,
		                    "\"%s\" says not when; write 3 for the third time only, 3+ for that and all after",
		                    count);
	rule.ever = *end == '+';
	if (!parse_kind(kind, &rule))
		return words_refuse(-EINVAL, error, error_size,
		                    "\"%s\" says not what happens; write an errno's name, short=BYTES, full=BYTES or "
		                    "delay=NUMBERms",
		                    kind);
	if ((rule.kind == KIND_SHORT || rule.kind == KIND_FULL) && !points[rule.point].sized)
		return words_refuse(-EINVAL, error, error_size, "%s moves no bytes, so that it cannot be short or full",
		                    text);
	*ret_rule = rule;
	return 0;
}

int faults_arm(const char *text, char *error, size_t error_size)
{
	_cleanup_free_ char *copy = strdup(text);
	struct rule parsed[RULES_MAX];
	char *rest = copy, *part;
	size_t count = 0;
	int r;

	if (copy == NULL)
		return words_refuse(-EINVAL, error, error_size, "out of memory");
	while (*text != '\0' && (part = strsep(&rest, ",")) != NULL) {
		if (count == RULES_MAX)
			return words_refuse(-EINVAL, error, error_size, "more than %d rules", RULES_MAX);
		r = parse_rule(part, &parsed[count], error, error_size);
		if (r < 0)
			return r;
		count++;
	}
	lock_take(&lock);
	memcpy(rules, parsed, count * sizeof(*rules));
	rules_count = count;
	memset(times, 0, sizeof(times));
	fired = 0;
	lock_give(&lock);
	return 0;
}

unsigned faults_fired(void)
{
	unsigned count;

	lock_take(&lock);
	count = fired;
	lock_give(&lock);
	return count;
}

unsigned long faults_passed(enum faults_point point)
{
	unsigned long count;

	lock_take(&lock);
	count = times[point];
	lock_give(&lock);
	return count;
}

const char *faults_name(enum faults_point point)
{
	return points[point].name;
}

bool faults_start(void)
{
	const char *text = getenv("BINDSHARE_FAULTS");
	char error[256];

	if (text == NULL)
		return true;
	if (faults_arm(text, error, sizeof(error)) < 0) {
		log_error("BINDSHARE_FAULTS: %s", error);
		return false;
	}
	log_warning("fault injection, for tests only: BINDSHARE_FAULTS=%s", text);
	return true;
}

static int apply(struct rule *rule, size_t *size, unsigned long *ret_delay) LOCK_HELD(lock);
/* Returns an errno or 0; adds to *ret_delay how long the calling thread is to sleep. */
static int apply(struct rule *rule, size_t *size, unsigned long *ret_delay)
{
	switch (rule->kind) {
	case KIND_ERRNO:
		return (int) rule->value;
	case KIND_DELAY:
		*ret_delay += rule->value;
		return 0;
	case KIND_FULL:
		if (rule->value == 0)
			return ENOSPC;
		if (*size > rule->value)
			*size = rule->value;
		rule->value -= *size;
		return 0;
	default:
		if (*size > rule->value)
			*size = rule->value;
		return 0;
	}
}

int faults_at_size(enum faults_point point, size_t *size)
{
	unsigned long time, delay = 0;
	int saved = errno, error = 0;

	lock_take(&lock);
	time = ++times[point];
	for (size_t i = 0; i < rules_count && error == 0; i++) {
		struct rule *rule = &rules[i];

		if (rule->point != point || time < rule->first || (time > rule->first && !rule->ever))
			continue;
		error = apply(rule, size, &delay);
		fired++;
	}
	lock_give(&lock);
	if (delay > 0) {
		struct timespec left = clock_timespec_ms((int64_t) delay);

		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
	}
	errno = saved;
	return error;
}

int faults_at(enum faults_point point)
{
	size_t none = 0;

	return faults_at_size(point, &none);
}

int faults_at_buffers(enum faults_point point, struct iovec *iov, size_t count, size_t *kept)
{
	size_t size = 0, left;
	int error;

	for (size_t i = 0; i < count; i++) {
		kept[i] = iov[i].iov_len;
		size += kept[i];
	}
	left = size;
	error = faults_at_size(point, &left);
	for (size_t i = 0; i < count; i++) {
		iov[i].iov_len = left < kept[i] ? left : kept[i];
		left -= iov[i].iov_len;
	}
	return error;
}

void faults_put_back(struct iovec *iov, size_t count, const size_t *kept)
{
	for (size_t i = 0; i < count; i++)
		iov[i].iov_len = kept[i];
}

bool faults_set_errno(int error)
{
	if (error != 0)
		errno = error;
	return error != 0;
}
