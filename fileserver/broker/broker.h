/* SPDX-License-Identifier: Apache-2.0 */
/* The broker: settings, listener, admission, workers and control socket on one loop. */
#pragma once

#include "fileserver/broker/options.h"

/* Serves until SIGTERM or SIGINT. The exit code (sysexits.h). To be called once. */
int broker_run(const struct options *options);
