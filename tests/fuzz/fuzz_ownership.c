/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership records of any bytes: nothing beyond permission bits, a special type and 12+20 bits of device comes out. */
#include <stdlib.h>

#include "fileserver/worker/host/ownership.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct ownership record;

	if (ownership_parse((const char *) bytes, size, &record) &&
	    ((record.mode & ~(mode_t) (S_IFMT | 07777)) != 0 || S_ISDIR(record.mode) || S_ISREG(record.mode) ||
	     S_ISLNK(record.mode) || record.uid == UINT32_MAX || record.gid == UINT32_MAX))
		abort();
	return 0;
}
