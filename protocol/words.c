/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for people beside an error number. */
#include "protocol/words.h"

#include <stdarg.h>
#include <stdio.h>

int words_refuse(int number, char *error, size_t error_size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(error, error_size, format, arguments);
	va_end(arguments);
	return number;
}
