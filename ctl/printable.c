/* SPDX-License-Identifier: Apache-2.0 */
/* Text that somebody else has chosen, for a terminal. */
#include "ctl/printable.h"

void printable_write(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char) *text < 0x20 || *text == 0x7f)
			(void) fprintf(out, "\\x%02x", (unsigned) (unsigned char) *text);
		else
			(void) fputc(*text, out);
	}
}
