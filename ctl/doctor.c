/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl doctor: looks at what bindshare needs, and says what to do where it is missing. */
#include "ctl/doctor.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/tables.h"
#include "protocol/cleanup.h"

enum { FILES_WANTED = 4096 };

static json_t *findings;

void doctor_found(const char *check, const char *level, const char *advice, const char *format, ...)
{
	char text[2048];
	va_list arguments;
	json_t *string;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	string = json_string(text);
	(void) json_array_append_new(findings, json_pack("{ss ss so so}", "check", check, "level", level, "text",
	                                                 string != NULL ? string : json_string("text that is no UTF-8"),
	                                                 "advice", advice == NULL ? json_null() : json_string(advice)));
}

static void check_kernel(void)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int fd = (int) syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	struct utsname name;

	(void) uname(&name);
	if (fd < 0)
		doctor_found("kernel", "error", "Use Linux 5.6 or later.", "Linux %s has no openat2", name.release);
	else
		doctor_found("kernel", "ok", NULL, "Linux %s has openat2", name.release);
}

void doctor_files(long long pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[256];
	unsigned long long soft, hard = 0;

	(void) snprintf(path, sizeof(path), "/proc/%lld/limits", pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Max open files %llu %llu", &soft, &hard) == 2) /* NOLINT(cert-err34-c) */
			break;
	if (hard == 0)
		doctor_found("files", "note", NULL, "the limit of open files is not known or has no end");
	else if (hard < FILES_WANTED)
		doctor_found("files", "warning", "Raise it: LimitNOFILE= of the service, or \"ulimit -Hn 65536\".",
		             "only %llu files may be open; large trees are slow then", hard);
	else
		doctor_found("files", "ok", NULL, "%llu files may be open", hard);
}

int doctor_run(const char *path, const char *config, bool as_json)
{
	json_t *answer;
	const json_t *finding;
	size_t i;
	int code = EX_OK;

	findings = json_array();
	check_kernel();
	if (path != NULL)
		doctor_host(path);
	else
		doctor_guest(config);
	json_array_foreach(findings, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "level")), "error") == 0)
			code = DOCTOR_FOUND;
	}
	answer = json_pack("{si ss so}", "version", 1, "side", path != NULL ? "host" : "guest", "findings", findings);
	if (as_json) {
		(void) json_dumpf(answer, stdout, JSON_COMPACT);
		(void) putchar('\n');
	} else {
		tables_doctor(answer);
	}
	json_decref(answer);
	return code == EX_OK && fflush(stdout) != 0 ? EX_IOERR : code;
}
