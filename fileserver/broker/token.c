/* SPDX-License-Identifier: Apache-2.0 */
/* Another token while the server runs. */
#include "fileserver/broker/token.h"

#include <sodium.h>
#include <string.h>

#include "protocol/document.h"

int token_rotate(const char *path, bool from_file, struct proto_token *ret_token, char *error, size_t error_size)
{
	char text[2 * PROTO_TOKEN_SIZE + 2];
	struct proto_token token;
	int r = 0;

	if (!from_file) {
		randombytes_buf(token.key, sizeof(token.key));
		(void) sodium_bin2hex(text, sizeof(text), token.key, sizeof(token.key));
		strcat(text, "\n");
		r = document_write_text("token file", path, text, error, error_size);
		sodium_memzero(text, sizeof(text));
	}
	/* What counts is what others will read there. */
	if (r == 0)
		r = proto_token_read(path, &token, error, error_size);
	if (r == 0)
		*ret_token = token;
	sodium_memzero(&token, sizeof(token));
	return r;
}
