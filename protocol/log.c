/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on stderr. */
#include "protocol/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/cleanup.h"

enum { TEXT_SIZE = 2048, LINE_SIZE = 4 * TEXT_SIZE + 128, LINES_PER_SECOND = 10 };

static const char *log_program = "bindshare";
static enum log_level log_most = LOG_LEVEL_INFO;
static pthread_mutex_t log_limit_lock = PTHREAD_MUTEX_INITIALIZER;

void log_init(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
}

/* Copies text with every byte that is no printable ASCII as \xNN; size has room for four times text and a NUL. */
static size_t escape(char *line, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	char *next = line;

	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char) *text;

		if (byte >= 0x20 && byte < 0x7f) {
			*next++ = (char) byte;
			continue;
		}
		*next++ = '\\';
		*next++ = 'x';
		*next++ = digits[byte >> 4];
		*next++ = digits[byte & 15];
	}
	return (size_t) (next - line);
}

void log_write(enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char text[TEXT_SIZE], line[LINE_SIZE];
	int saved = errno;
	size_t length;
	va_list arguments;

	if (level > log_most)
		return;
	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	length = (size_t) snprintf(line, 128, "%.64s[%d]: %s: ", log_program, (int) getpid(), names[level]);
	length += escape(line + length, text);
	line[length++] = '\n';
	/* One write, so that lines of several threads and processes do not mix. */
	(void) !write(STDERR_FILENO, line, length);
	errno = saved;
}

bool log_limit_allows(struct log_limit *limit)
{
	struct timespec now;
	unsigned left_out = 0;
	bool allowed;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	(void) pthread_mutex_lock(&log_limit_lock);
	if (limit->second != now.tv_sec) {
		limit->second = now.tv_sec;
		limit->count = 0;
		left_out = limit->left_out;
		limit->left_out = 0;
	}
	allowed = limit->count < LINES_PER_SECOND;
	if (allowed)
		limit->count++;
	else
		limit->left_out++;
	(void) pthread_mutex_unlock(&log_limit_lock);
	if (left_out > 0)
		log_warning("%u lines like the next one were left out", left_out);
	return allowed;
}
