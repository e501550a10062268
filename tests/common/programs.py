# SPDX-License-Identifier: Apache-2.0
"""Where the build puts the programs, from the build directory."""

BUILT = {
    "bindshare-fileserver": "fileserver/bindshare-fileserver",
    "bindsharectl": "ctl/bindsharectl",
    "bindshare-mount": "guest-fuse/bindshare-mount",
    "bindshare-guestd": "guest-fuse/bindshare-guestd",
    "bindshare-runtime": "guest-fuse/bindshare-runtime",
    "bench-workloads": "bench/bench-workloads",
    "hangfs": "tests/e2e/hangfs",
    "model": "tests/e2e/model",
}
