/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and mount sources of any text. */
#include <stdlib.h>
#include <string.h>

#include "protocol/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct proto_address address;
	const char *share;
	char error[256], *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (proto_address_parse(text, &address, error, sizeof(error)) == 0) {
		char formatted[256];
		struct proto_address again;

		proto_address_format(&address, formatted, sizeof(formatted));
		if (proto_address_parse(formatted, &again, error, sizeof(error)) != 0)
			abort();
	}
	(void) proto_address_split_source(text, &address, &share, error, sizeof(error));
	free(text);
	return 0;
}
