#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lanes grow on demand, so that requests that block on the host do not stop the others."""
import os
import threading
import time
from multiprocessing import Process

from lib import Rig, case, process, read_file, run, wait_for, write_file
from lib.hang import Hang

BLOCKED = 60


def _stat(path):
    try:
        os.stat(path)
    except OSError:
        pass


def _block(rig, count):
    """Threads of which each waits in the kernel for a look-up that the host does not answer."""
    threads = [threading.Thread(target=_stat, args=(rig.guest(f"h/hang{n}"),), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    return threads


def _in_flight(rig):
    """Look-ups that the client has sent, by its own count."""
    return rig.mount.stats()["fuse"]["lookup"]


@case
def sixty_requests_that_block_on_the_host_do_not_stop_a_stat():
    rig = Rig()
    rig.fill("file", "x")
    hang = Hang(rig.host("h"))
    assert os.stat(rig.guest("h/calm")).st_size == 0
    before = _in_flight(rig)
    threads = _block(rig, BLOCKED)
    wait_for(lambda: _in_flight(rig) >= before + BLOCKED, "all have been sent", 30)
    for number in range(20):
        begin = time.monotonic()
        write_file(rig.guest(f"n{number}"), "x", owner=(0, 0))
        assert os.stat(rig.guest(f"n{number}")).st_size == 1
        assert "file" in os.listdir(rig.guest())
        assert time.monotonic() - begin < 5, time.monotonic() - begin
    assert rig.mount.stats()["lanes"] > BLOCKED, rig.mount.stats()["lanes"]
    assert all(thread.is_alive() for thread in threads)
    hang.release()
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive(), "a blocked request was never answered"
    rig.end()


def _used(before, after):
    """Threads of the mount that have worked in between: each goes to sleep and is woken many times."""
    return [thread for thread, count in after.items() if count > before.get(thread, 0) + 5]


@case
def what_many_have_left_behind_is_not_used_by_few():
    """Taken in turn, sixty lanes have sixty threads on each side with cold caches, for the work of four."""
    rig = Rig()
    hang = Hang(rig.host("h"))
    before = _in_flight(rig)
    blocked = _block(rig, BLOCKED)
    wait_for(lambda: _in_flight(rig) >= before + BLOCKED, "all have been sent", 30)
    hang.release()
    for thread in blocked:
        thread.join(15)

    def work():
        for _ in range(1500):
            os.statvfs(rig.guest())

    asleep = process.sleeps(rig.mount.pid)
    workers = [Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    used = _used(asleep, process.sleeps(rig.mount.pid))
    assert len(used) <= 12, f"{len(used)} threads of {rig.mount.stats()['lanes']}"
    rig.end()


@case
def more_blocked_requests_than_lanes_wait_and_go_on():
    rig = Rig("lanes=4")
    hang = Hang(rig.host("h"))
    threads = _block(rig, 12)
    time.sleep(1)
    assert rig.mount.stats()["lanes"] <= 4
    hang.release()
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()
    write_file(rig.guest("file"), "x", owner=(0, 0))
    assert read_file(rig.host("file")) == b"x"


@case
def a_server_with_few_lanes_still_serves_many_threads():
    rig = Rig(server_arguments=["--lanes", "2"])
    problems = []

    def work(number):
        try:
            for turn in range(30):
                path = rig.guest(f"t{number}-{turn}")
                write_file(path, str(turn), owner=(0, 0))
                assert read_file(path) == str(turn).encode()
                os.unlink(path)
        except Exception as error:  # told by the case itself
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems, problems
    assert os.listdir(rig.share) == []
    assert rig.mount.stats()["lanes"] <= 2


@case
def many_threads_at_once_keep_their_files_apart():
    rig = Rig()
    problems = []

    def work(number):
        try:
            os.mkdir(rig.guest(f"d{number}"))
            for turn in range(40):
                content = (f"{number}-{turn}," * 200).encode()
                path = rig.guest(f"d{number}/f{turn}")
                write_file(path, content, owner=(0, 0))
                os.rename(path, path + ".done")
                assert read_file(path + ".done") == content
            assert len(os.listdir(rig.guest(f"d{number}"))) == 40
        except Exception as error:  # told by the case itself
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not problems, problems
    for number in range(24):
        for turn in range(40):
            assert read_file(rig.host(f"d{number}/f{turn}.done")) == (f"{number}-{turn}," * 200).encode()
    rig.end()


run(timeout=180)
