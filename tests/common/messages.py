# SPDX-License-Identifier: Apache-2.0
"""FUSE requests and RPCs, as bindshare-mount --stats --json counts them."""

# What the kernel, or the client, sends on its own account: not caused by the operation that is counted.
_BESIDE = {"fuse": ("init", "destroy", "forget", "batch_forget", "forget_multi", "interrupt"),
           "rpc": ("ping", "lane_state", "goodbye", "hello", "attach", "proof", "refuse", "forget")}


def between(before, after):
    """What an operation has cost: {"fuse": {operation: count}, "rpc": {...}}, without counts of 0."""
    return {kind: {name: count - before[kind].get(name, 0) for name, count in after[kind].items()
                   if count != before[kind].get(name, 0) and name not in beside} for kind, beside in _BESIDE.items()}
