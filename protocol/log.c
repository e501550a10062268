/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on stderr. */
#include "protocol/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/lock.h"

enum { TEXT_SIZE = 2048, HEAD_SIZE = 192, LINE_SIZE = 5 * TEXT_SIZE + HEAD_SIZE + 8 };

static const char *log_program = "bindshare";
static enum log_level log_most = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static struct lock log_limit_lock = LOCK_INITIALIZER;

int log_level_parse(const char *text, enum log_level *ret_level)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret_level = (enum log_level) i;
			return 0;
		}
	return -EINVAL;
}

int log_format_parse(const char *text, enum log_format *ret_format)
{
	if (strcmp(text, "json") != 0 && strcmp(text, "text") != 0)
		return -EINVAL;
	*ret_format = text[0] == 'j' ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	return 0;
}

void log_init(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
}

void log_set_format(enum log_format format)
{
	log_format = format;
}

int log_to_file(const char *path)
{
	/* O_NOFOLLOW: somebody may have put a link there to have another of the user's files written to. */
	_cleanup_close_ int fd =
	        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0600);

	/* stderr has no close-on-exec flag: workers inherit it. */
	return fd < 0 || dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
}

/*
 * Whether stderr is the journal, which records program, process and time itself and takes the level from a number at
 * the start of the line (sd-daemon(3)). Checked for each line, since stderr may change.
 */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (stream == NULL || log_format != LOG_FORMAT_TEXT)
		return false;
	if (sscanf(stream, "%llu:%llu", &device, &inode) != 2) /* NOLINT(cert-err34-c) */
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/*
 * Copies text, every byte that is not printable ASCII as \xNN; for JSON backslashes and quotes are escaped as well.
 * line must have room for five times the length of text.
 */
static size_t escape(char *line, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	bool json = log_format == LOG_FORMAT_JSON;
	char *next = line;

	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char) *text;

		if (byte >= 0x20 && byte < 0x7f) {
			if (json && (byte == '"' || byte == '\\'))
				*next++ = '\\';
			*next++ = (char) byte;
			continue;
		}
		if (json)
			*next++ = '\\';
		*next++ = '\\';
		*next++ = 'x';
		*next++ = digits[byte >> 4];
		*next++ = digits[byte & 15];
	}
	return (size_t) (next - line);
}

/* The part of the line before the text. */
static size_t write_head(char *line, enum log_level level)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	static const char priorities[] = "3467";
	struct timespec now = clock_date();
	struct tm parts;
	char stamp[32];
	int length;

	if (is_journal())
		return (size_t) snprintf(line, HEAD_SIZE, "<%c>", priorities[level]);
	if (log_format == LOG_FORMAT_TEXT) {
		length = snprintf(line, HEAD_SIZE, "%.64s[%d]: %s: ", log_program, (int) getpid(), names[level]);
		return (size_t) length;
	}
	if (gmtime_r(&now.tv_sec, &parts) == NULL || strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
		strcpy(stamp, "1970-01-01T00:00:00");
	length = snprintf(line, HEAD_SIZE,
	                  "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"program\":\"%.64s\",\"pid\":%d,\"text\":\"", stamp,
	                  (int) (now.tv_nsec / 1000000), names[level], log_program, (int) getpid());
	return (size_t) length;
}

static void write_text(enum log_level level, const char *text)
{
	char line[LINE_SIZE];
	size_t length = write_head(line, level);

	length += escape(line + length, text);
	if (log_format == LOG_FORMAT_JSON) {
		line[length++] = '"';
		line[length++] = '}';
	}
	line[length++] = '\n';
	/* One write(2), so that lines of several threads and processes do not mix. */
	(void) !write(STDERR_FILENO, line, length);
}

/* A text longer than most bytes is cut and ends in "..."; with TEXT_SIZE it is cut at the end of the buffer. */
__attribute__((format(printf, 3, 0))) static void write_format(enum log_level level, size_t most, const char *format,
                                                               va_list arguments)
{
	char text[TEXT_SIZE];
	int saved = errno;

	if (level > log_most)
		return;
	if (vsnprintf(text, sizeof(text), format, arguments) > (int) most && most < sizeof(text) - 3)
		strcpy(text + most, "...");
	write_text(level, text);
	errno = saved;
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_format(level, TEXT_SIZE, format, arguments);
	va_end(arguments);
}

void log_write_cut(enum log_level level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_format(level, LOG_PEER_MAX, format, arguments);
	va_end(arguments);
}

bool log_limit_allows(struct log_limit *limit)
{
	int64_t ms = clock_ms() + 1;
	unsigned left_out = 0;
	bool allowed;

	lock_take(&log_limit_lock);
	if (limit->at == 0 || ms - limit->at >= LOG_LIMIT_BURST * 1000LL) {
		limit->filled = LOG_LIMIT_BURST;
		limit->at = ms;
	} else if (ms - limit->at >= 1000) {
		unsigned gained = (unsigned) ((ms - limit->at) / 1000);

		limit->filled = limit->filled + gained < LOG_LIMIT_BURST ? limit->filled + gained : LOG_LIMIT_BURST;
		limit->at += gained * 1000LL;
	}
	allowed = limit->filled > 0;
	if (allowed) {
		limit->filled--;
		left_out = limit->left_out;
		limit->left_out = 0;
	} else {
		limit->left_out++;
	}
	lock_give(&log_limit_lock);
	if (left_out > 0)
		log_warning("%u lines like the next one were left out", left_out);
	return allowed;
}
