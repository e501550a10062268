/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of bindsharectl doctor look at. */
#include "ctl/doctor-limits.h"

enum { FILES_WANTED = 4096 };

void doctor_limits_kernel(struct findings *findings, const struct facts_kernel *kernel)
{
	if (kernel->openat2)
		findings_add(findings, "kernel", "ok", NULL, "Linux %s has openat2", kernel->release);
	else
		findings_add(findings, "kernel", "error", "Use Linux 5.6 or later.", "Linux %s has no openat2",
		             kernel->release);
}

void doctor_limits_files(struct findings *findings, unsigned long long files)
{
	if (files == 0)
		findings_add(findings, "files", "note", NULL, "the limit of open files is not known or has no end");
	else if (files < FILES_WANTED)
		findings_add(findings, "files", "warning",
		             "Raise it: LimitNOFILE= of the service, or \"ulimit -Hn 65536\".",
		             "only %llu files may be open; large trees are slow then", files);
	else
		findings_add(findings, "files", "ok", NULL, "%llu files may be open", files);
}
