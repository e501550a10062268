/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on stderr: "program[pid]: level: text", or an object of JSON each; for the journal, which notes the program
 * and the process itself, "<number>text". Bytes that are no printable ASCII are
 * escaped (\xNN), so that a name a peer chose cannot forge a line. Only main programs and the top of a session log;
 * library code returns errors.
 */
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* As on a command line: error, warning, info, debug; text, json. 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);
int log_format_parse(const char *text, enum log_format *ret_format);

void log_init(const char *program, enum log_level most);
/* JSON: {"time":"2026-11-24T10:20:30.123Z","level":"info","program":"..","pid":7,"text":".."}. The default is text. */
void log_set_format(enum log_format format);
/*
 * Writes to the end of a file from now on, in place of stderr, which becomes it; again after the file was renamed
 * away. Each line is one write, so that the file may also be copied and cut. 0 or a negative errno.
 */
int log_to_file(const char *path);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For lines that a peer can cause: at most 10 a second from one place, thread-safe. True: log it. The next line after a
 * pause says how many were left out.
 */
struct log_limit {
	long long second;
	unsigned count, left_out;
};
bool log_limit_allows(struct log_limit *limit);
