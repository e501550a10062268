/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the Docker Engine API, as a client of the engine may write them: never a crash, and never a bind missed.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "guest-fuse/agent/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const uris[] = { "/v1.41/containers/create", "/containers/x/start",        "/volumes/create",
	                            "/services/create",         "/services/x/update",         "/plugins/pull",
	                            "/plugins/x/set",           "/v1.23/containers/x/y/start" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char uri[256] = "", error[16384];
	struct engine_binds binds = { .sources = NULL };
	struct engine_request request = { .method = "POST", .uri = uri };
	size_t length;
	enum engine_result result;

	if (size < 1)
		return 0;
	length = data[0];
	data++;
	size--;
	/* The first bytes are the address, or choose one. */
	if (length < sizeof(uris) / sizeof(uris[0])) {
		strcpy(uri, uris[length]);
	} else {
		length = length < size ? length : size;
		memcpy(uri, data, length);
		uri[length < sizeof(uri) ? length : sizeof(uri) - 1] = '\0';
		data += length;
		size -= length;
	}
	request.body = (const char *) data;
	request.length = size;
	result = engine_read(&request, &binds, error, sizeof(error));
	assert((result == ENGINE_BINDS) == (binds.sources != NULL));
	json_decref(binds.sources);
	return 0;
}
