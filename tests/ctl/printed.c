/* SPDX-License-Identifier: Apache-2.0 */
/* What a function prints. */
#include "tests/ctl/printed.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *saved_out, *saved_err, *kept;
static char *text;
static size_t size;

void printed_begin(void)
{
	free(text);
	text = NULL;
	kept = open_memstream(&text, &size);
	if (kept == NULL)
		abort();
	saved_out = stdout;
	saved_err = stderr;
	stdout = stderr = kept;
}

const char *printed_end(void)
{
	stdout = saved_out;
	stderr = saved_err;
	if (fclose(kept) != 0)
		abort();
	return text;
}
