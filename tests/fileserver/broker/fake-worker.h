/* SPDX-License-Identifier: Apache-2.0 */
/* What fake-worker.c can be told to do, as HELLO's view_uid. */
#pragma once

enum fake_worker { FAKE_SERVE, FAKE_CRASH, FAKE_FAIL, FAKE_NONSENSE, FAKE_CRASH_LATER, FAKE_DEAF };
