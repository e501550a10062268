/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as an OCI runtime tells them. */
#include "guest-fuse/runtime/complain.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "protocol/cleanup.h"
#include "protocol/document.h"

enum { TEXT_SIZE = 16384 };

/* The line as runc writes it. */
static char *line_of(const struct command *command, const char *level, const char *text)
{
	_cleanup_json_ json_t *object = NULL;
	char now[64], *line = NULL, *json;
	time_t seconds = time(NULL);
	struct tm tm;

	(void) strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	if (!command->log_json)
		return asprintf(&line, "time=\"%s\" level=%s msg=\"%s\"\n", now, level, text) < 0 ? NULL : line;
	object = json_pack("{s:s, s:s, s:s}", "level", level, "msg", text, "time", now);
	json = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
	if (json != NULL && asprintf(&line, "%s\n", json) < 0)
		line = NULL;
	free(json);
	return line;
}

void complain(const struct command *command, const char *level, const char *format, ...)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_close_ int fd = -EBADF;
	char text[TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "bindshare-runtime: %s%s\n", strcmp(level, "error") == 0 ? "" : "warning: ", text);
	if (command->log == NULL)
		return;
	line = line_of(command, level, text);
	fd = open(command->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (line != NULL && fd >= 0 && write(fd, line, strlen(line)) < 0)
		fprintf(stderr, "bindshare-runtime: cannot write to %s\n", command->log);
}
