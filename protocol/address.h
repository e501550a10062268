/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: vsock:PORT (to listen), vsock:CID:PORT (to connect), unix:PATH, and unix:PATH_PORT, the host's side of
 * "hybrid vsock": the VMM turns a guest's connection to PORT into a connection to the unix socket PATH_PORT.
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
	uint32_t cid;  /* vsock; VMADDR_CID_ANY when none was given */
	uint32_t port; /* vsock: 1 to 2^32-2; hybrid: the number after the last '_'; else 0 */
	bool hybrid;
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
};

/* Parses an address. Returns 0, or -EINVAL and a message in error: what is wrong and what is right. */
int proto_address_parse(const char *text, struct proto_address *ret_address, char *error, size_t error_size);

/*
 * Splits "ADDRESS:/host/path", the source of a mount. A vsock address ends at the first ":/", a unix address at the
 * last one. Returns 0, or -EINVAL and a message in error. *ret_share points into text.
 */
int proto_address_split_source(const char *text, struct proto_address *ret_address, const char **ret_share, char *error,
                               size_t error_size);

/*
 * Connects within timeout_ms. For vsock, a privileged caller binds to a source port below 1024, which the server
 * demands. Returns a descriptor (CLOEXEC, blocking) or a negative errno (-ETIMEDOUT, -ECONNREFUSED, -ENOENT, ...).
 */
int proto_address_connect(const struct proto_address *address, int timeout_ms);

/*
 * Listens. A unix socket gets mode 0600, and replaces an existing socket file only when nobody listens on it (else
 * -EADDRINUSE). Returns a descriptor (CLOEXEC, non-blocking) or a negative errno.
 */
int proto_address_listen(const struct proto_address *address, int backlog);

/* The address as text for people, "vsock:2:1024" for example. */
void proto_address_format(const struct proto_address *address, char *text, size_t size);
