/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exit codes of bindshare-mount. mount(8) combines those of its helpers as bits, so that as its helper every failure to
 * mount is EXITS_MOUNT; called by its own name the program says which one it was.
 */
#pragma once

enum exits {
	EXITS_OK = 0,
	EXITS_USAGE = 1,  /* wrong use, no such mountpoint, not root: as mount(8) */
	EXITS_SYSTEM = 2, /* out of memory, no /dev/fuse */
	EXITS_MOUNT = 32, /* the mount failed */

	EXITS_UNREACHABLE = 40,   /* nobody answers at the address */
	EXITS_NOT_SHARED = 41,    /* the path is not shared by the host */
	EXITS_NOT_FOUND = 42,     /* it is shared, but does not exist there */
	EXITS_NOT_DIRECTORY = 43, /* it is no directory there */
	EXITS_NOT_TRUSTED = 44,   /* wrong token, on either side */
	EXITS_TOKEN_FILE = 45,    /* the token file cannot be used */
	EXITS_VERSION = 46,       /* no protocol version in common */
	EXITS_LIMIT = 47,         /* the server has as many mounts as it may */
	EXITS_PROTOCOL = 48,      /* another refusal, or an answer that makes no sense */
	EXITS_BUSY = 49,          /* something of bindshare is mounted there already */
};
