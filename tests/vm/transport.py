#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What the vsock device and the server can do to a mount: refuse, stall, close, be replaced. The result is an error or a
new connection in time, never a hang: every command in the guest has a time limit.
"""
import hashlib
import os
import signal

import host
from lib import case, wait_for, world
from proxy import Proxy

TIMEOUT = 4  # option of the mounts, seconds
LIMIT = 60   # of what must not hang; a guest without hardware help is slow

GUEST = host.the_guest()

_SIZES = """
import hashlib, os, sys
directory = sys.argv[1]
for size in [*range(32200, 32900, 37), 24191, 24192, 24193, 65536, 65537, 131073, 1048576, 1048577, 3 << 20]:
    data = hashlib.shake_128(str(size).encode()).digest(size)
    with open(f"{directory}/{size}", "wb", buffering=0) as file:
        assert file.write(data) == size, size
    descriptor = os.open(f"{directory}/{size}", os.O_RDONLY | os.O_DIRECT)
    got = b""
    while piece := os.read(descriptor, 1 << 20):
        got += piece
    os.close(descriptor)
    assert got == data, (size, len(got))
print("done")
"""


def _load(share):
    """A program that writes without end; when it has written for a while."""
    running = GUEST().machine.start(f"dd if=/dev/zero of={share.where}/load bs=256k count=100000000 2>&1")
    path = os.path.join(share.path, "load")
    wait_for(lambda: os.path.exists(path) and os.stat(path).st_size > 4 << 20, "dd writes", LIMIT)
    return running


def _fails(share):
    """An operation on the mount fails in time; the shell's words."""
    code, output = GUEST().machine.run(f"mkdir {share.where}/new-$$", LIMIT)
    assert code != 0, output
    return output


def _works_again(share):
    """Another mount of the same directory."""
    share.unmount()
    share.mount()
    GUEST().machine.must(f"echo again > {share.where}/again", LIMIT)
    with open(os.path.join(share.path, "again"), encoding="ascii") as file:
        assert file.read() == "again\n"


def _with_proxy():
    """A share whose connections go through a proxy."""
    share = host.Share(GUEST(), f"timeout={TIMEOUT}")
    path = os.path.join(world.case_directory("proxy"), "p")
    proxy = Proxy(path, share.server.listen[len("unix:"):])
    world.at_end(proxy.stop)
    share.server.lead(path)
    return share, proxy


@case
def a_wrong_token_is_refused_with_words_that_mend_it():
    share = host.Share(GUEST())
    GUEST().machine.put("/root/wrong", "ff" * 32 + "\n", 0o600)
    for token in ("/root/wrong", None):
        code, output = share.try_mount(token=token)
        assert code == 44, (code, output)
        assert "does not hold the token that is expected here (option token-file=)" in output, output
    code, _ = GUEST().machine.run(f"mountpoint -q {share.where}")
    assert code != 0
    share.mount()


@case
def nobody_at_the_port_is_told_from_a_refusal():
    share = host.Share(GUEST())
    share.server.stop()
    code, output = share.try_mount()
    assert code == 40, (code, output)
    assert f"cannot reach the file server at vsock:2:{share.server.port}" in output, output
    assert "start bindshare-fileserver on the host" in output, output


@case
def who_takes_the_connection_and_says_nothing_is_given_up():
    share, proxy = _with_proxy()
    proxy.stalled = True
    code, output = share.try_mount()
    assert code == 40, (code, output)


@case
def messages_of_every_length_arrive_whole():
    share = host.Share(GUEST()).mount()
    output = GUEST().machine.must(["/usr/bin/python3", "-c", _SIZES, share.where], 180)
    assert output == "done\n", output
    for name in os.listdir(share.path):
        with open(os.path.join(share.path, name), "rb") as file:
            assert file.read() == hashlib.shake_128(name.encode()).digest(int(name)), name


@case
def a_lane_that_is_cut_costs_an_error_and_is_made_anew():
    share, proxy = _with_proxy()
    share.mount()
    load = _load(share)
    proxy.cut(1)  # all but the first, which is the event lane
    assert load.wait(LIMIT) != 0, load.output
    wait_for(lambda: GUEST().machine.run(f"echo on > {share.where}/on", LIMIT)[0] == 0, "the mount goes on", LIMIT)
    with open(os.path.join(share.path, "on"), encoding="ascii") as file:
        assert file.read() == "on\n"
    share.unmount()


@case
def all_connections_are_cut_under_load():
    share, proxy = _with_proxy()
    share.mount()
    load = _load(share)
    proxy.cut()
    assert load.wait(LIMIT) != 0, load.output
    _fails(share)
    _works_again(share)


@case
def the_other_side_stops_reading_under_load():
    share, proxy = _with_proxy()
    share.mount()
    load = _load(share)
    proxy.stalled = True
    assert load.wait(LIMIT) != 0, load.output
    _fails(share)
    proxy.stalled = False
    _works_again(share)


@case
def the_server_is_killed_and_replaced_under_load():
    share = host.Share(GUEST(), f"timeout={TIMEOUT}").mount()
    load = _load(share)
    share.server.signal(share.server.process.pid)
    share.server.process.wait(10)
    assert load.wait(LIMIT) != 0, load.output
    _fails(share)
    share.server.start()
    _works_again(share)


@case
def a_device_that_stands_still_for_a_moment_costs_nothing():
    share = host.Share(GUEST(), "timeout=60").mount()
    device = GUEST().vsock
    running = GUEST().machine.start(f"dd if=/dev/urandom of={share.where}/data bs=64k count=300 && "
                                    f"sha256sum < {share.where}/data")
    path = os.path.join(share.path, "data")
    wait_for(lambda: os.path.exists(path) and os.stat(path).st_size > 1 << 20, "dd writes", LIMIT)
    world.at_end(device.resume)
    device.pause()
    size = os.stat(path).st_size
    assert running.code is None
    device.resume()
    assert running.wait(120) == 0, running.output
    assert size < 300 << 16
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() in running.output, running.output
    share.unmount()


@case
def a_device_that_stands_still_is_given_up_under_load():
    share = host.Share(GUEST(), f"timeout={TIMEOUT}").mount()
    load = _load(share)
    world.at_end(GUEST().vsock.resume)
    GUEST().vsock.pause()
    assert load.wait(LIMIT) != 0, load.output
    assert "endpoint is not connected" in _fails(share)
    share.unmount()
    code, output = share.try_mount()
    assert code == 40, (code, output)
    GUEST().vsock.resume()
    share.mount()
    GUEST().machine.must(f"echo again > {share.where}/again", LIMIT)
    assert "again" in os.listdir(share.path)


@case
def a_device_that_is_killed_is_given_up_under_load():
    share = host.Share(GUEST(), f"timeout={TIMEOUT}").mount()
    load = _load(share)
    GUEST().vsock.process.send_signal(signal.SIGKILL)
    assert load.wait(LIMIT) != 0, load.output
    _fails(share)
    share.unmount()
    code, output = share.try_mount()
    assert code == 40, (code, output)


host.run(600)
