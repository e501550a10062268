/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: vsock:PORT (listen), vsock:CID:PORT (connect), unix:PATH, and unix:PATH_PORT, the host side of "hybrid
 * vsock", where the VMM turns a guest's connection to PORT into a connection to PATH_PORT.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum proto_address_kind { PROTO_ADDRESS_VSOCK, PROTO_ADDRESS_UNIX };

struct proto_address {
	enum proto_address_kind kind;
	uint32_t cid;  /* vsock; VMADDR_CID_ANY where none was given */
	uint32_t port; /* vsock, 1 to 2^32-2; hybrid: the number behind the last '_'; else 0 */
	bool hybrid;
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
};

/*
 * Reads an address. 0 or -EINVAL, with words that say what is wrong and what is right in error.
 */
int proto_address_parse(const char *text, struct proto_address *ret_address, char *error, size_t error_size);

/*
 * Splits "ADDRESS:/host/path", the source of a mount: the address ends at the first ":/" behind its scheme and
 * path. For unix: the share begins at the last ":/". 0 or -EINVAL. *ret_share points into text.
 */
int proto_address_split_source(const char *text, struct proto_address *ret_address, const char **ret_share, char *error,
                               size_t error_size);

/*
 * Connects, within timeout_ms. vsock: binds to a source port below 1024 when privileged, which the server asks for.
 * A descriptor (CLOEXEC, blocking), or a negative errno (-ETIMEDOUT, -ECONNREFUSED, -ENOENT, ...).
 */
int proto_address_connect(const struct proto_address *address, int timeout_ms);

/*
 * Listens. unix: makes the socket 0600, and replaces a socket file only when nobody listens on it (-EADDRINUSE
 * else). A descriptor (CLOEXEC, non-blocking) or a negative errno.
 */
int proto_address_listen(const struct proto_address *address, int backlog);

/* "vsock:2:1024" and so on, for people. */
void proto_address_format(const struct proto_address *address, char *text, size_t size);
