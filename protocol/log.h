/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on stderr: "program[pid]: level: text", or one JSON object per line. For the journal, which records program
 * and process itself, "<number>text". Bytes that are not printable ASCII are escaped (\xNN), so that a name that a peer
 * chose cannot forge a line. Only main programs and the top of a session log; library code returns errors.
 */
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Parse the values of the command line: error, warning, info, debug; text, json. Return 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);
int log_format_parse(const char *text, enum log_format *ret_format);

void log_init(const char *program, enum log_level most);
/* JSON: {"time":"2026-11-24T10:20:30.123Z","level":"info","program":"..","pid":7,"text":".."}. The default is text. */
void log_set_format(enum log_format format);
/*
 * From now on stderr is this file, and log lines are appended to it. Call it again after the file was renamed
 * (rotation). Each line is one write, so the file may also be copied and truncated. Returns 0 or a negative errno:
 * -ELOOP for a symbolic link, which is not followed.
 */
int log_to_file(const char *path);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Rate limit for lines that a peer can cause: LOG_LIMIT_BURST at once from one place in the code, then one a second.
 * Thread-safe. Returns true when the line is to be logged. Before the first line after a gap, one says how many were
 * left out.
 */
enum { LOG_LIMIT_BURST = 60 };
struct log_limit {
	long long at; /* ms; 0: nothing yet */
	unsigned filled, left_out;
};
bool log_limit_allows(struct log_limit *limit);

/* Log lines that a peer can cause: limited in rate, separately for each place in the code, and in length (bytes). */
enum { LOG_PEER_MAX = 512 };
void log_write_cut(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define LOG_PEER(level, ...)                                                                                           \
	do {                                                                                                           \
		static struct log_limit log_limit_here;                                                                \
                                                                                                                       \
		if (log_limit_allows(&log_limit_here))                                                                 \
			log_write_cut(level, __VA_ARGS__);                                                             \
	} while (0)
#define log_peer_error(...)   LOG_PEER(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_peer_warning(...) LOG_PEER(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_peer_info(...)    LOG_PEER(LOG_LEVEL_INFO, __VA_ARGS__)
