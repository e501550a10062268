/* SPDX-License-Identifier: Apache-2.0 */
/* The server's first steps. Each returns EX_OK, or an exit code after a message. */
#pragma once

#include "fileserver/broker/options.h"

int start_log(const struct options *options);
/* Refuses to be root, keeps memory out of core files, and lets nothing but the standard streams be inherited. */
int start_process(const struct options *options);
