#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What people get wrong: each has its words and its exit code, and the server goes on."""
import json
import os
import socket

from lib import Mount, Server, case, mount_command, program, run, wait_for, world, write_file
from lib.server import TOKEN

OTHER_TOKEN = "ffeeddccbbaa99887766554433221100" * 2


def _directory(name="share"):
    path = os.path.join(world.case_directory("host"), name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


def _mountpoint():
    path = os.path.join(world.case_directory("mount"), "mnt")
    os.mkdir(path)
    return path


def _token_file(text, mode=0o600, owner=(0, 0)):
    return write_file(os.path.join(world.case_directory("token"), "token"), text, mode, owner)


def _expect(done, code, *words):
    assert done.returncode == code, f"exit code {done.returncode} instead of {code}: {done.stderr!r}"
    for word in words:
        assert word in done.stderr, f"{word!r} is not said: {done.stderr!r}"


def _expect_mount_fails(code, words, source, where=None, options=(), flags=()):
    _expect(mount_command(source, where or _mountpoint(), options, flags), code, *words)


# The mount's side.

@case
def a_server_that_is_not_there_is_reported():
    share = _directory()
    path = os.path.join(world.case_directory("run"), "s")
    _expect_mount_fails(40, ["unix:" + path], f"unix:{path}:{share}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    _expect_mount_fails(40, ["unix:" + path], f"unix:{path}:{share}")
    listener.close()


@case
def a_server_that_does_not_answer_is_reported():
    path = os.path.join(world.case_directory("run"), "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(5)
        done = mount_command(f"unix:{path}:/x", _mountpoint(), timeout=25)
    assert done.returncode in (40, 48), done
    assert done.stderr, done


@case
def a_path_that_is_not_on_the_list_is_refused():
    server = Server([_directory()])
    _expect_mount_fails(41, ["Mounts denied: The path /etc is not shared from the host and is not known to bindshare.",
                             "--share"], f"{server.address}:/etc")


@case
def a_share_that_is_missing_is_reported():
    share = _directory()
    server = Server([share])
    _expect_mount_fails(42, [share + "/nowhere"], f"{server.address}:{share}/nowhere")


@case
def a_share_that_is_a_file_is_refused():
    share = _directory()
    write_file(share + "/file", "x")
    server = Server([share])
    _expect_mount_fails(43, [share + "/file", "directory"], f"{server.address}:{share}/file")


@case
def a_wrong_token_is_refused():
    share = _directory()
    server = Server([share], token=TOKEN)
    _expect_mount_fails(44, ["token"], f"{server.address}:{share}", options=["token-file=" + _token_file(OTHER_TOKEN)])
    _expect_mount_fails(44, ["token"], f"{server.address}:{share}")
    assert server.alive() and server.workers() == []


@case
def a_server_that_does_not_hold_the_token_is_refused():
    share = _directory()
    server = Server([share], token=OTHER_TOKEN)
    _expect_mount_fails(44, ["token"], f"{server.address}:{share}", options=["token-file=" + _token_file(TOKEN)])


@case
def a_token_file_that_others_may_read_is_refused():
    share = _directory()
    server = Server([share], token=TOKEN)
    for mode in (0o644, 0o640, 0o602):
        path = _token_file(TOKEN, mode)
        _expect_mount_fails(45, [path], f"{server.address}:{share}", options=["token-file=" + path])


@case
def a_token_file_without_a_token_is_refused():
    share = _directory()
    server = Server([share], token=TOKEN)
    for text in ("", "secret\n", TOKEN[:-1] + "\n", TOKEN + "00\n", "z" * 64 + "\n"):
        path = _token_file(text)
        _expect_mount_fails(45, [path], f"{server.address}:{share}", options=["token-file=" + path])
    _expect_mount_fails(45, ["/nowhere/token"], f"{server.address}:{share}", options=["token-file=/nowhere/token"])


@case
def a_mountpoint_that_is_missing_or_a_file_is_refused():
    share = _directory()
    server = Server([share])
    missing = os.path.join(_mountpoint(), "nowhere")
    _expect_mount_fails(1, [missing], f"{server.address}:{share}", missing)
    path = write_file(os.path.join(world.case_directory("mount"), "file"), "x")
    _expect_mount_fails(1, [path], f"{server.address}:{share}", path)


@case
def a_mountpoint_that_is_busy_is_refused():
    share = _directory()
    server = Server([share])
    mount = Mount(server, share)
    _expect_mount_fails(49, [mount.where], mount.source, mount.where)
    assert os.listdir(mount.where) == []
    assert len(server.workers()) == 1


@case
def options_that_make_no_sense_are_refused():
    share = _directory()
    server = Server([share])
    source = f"{server.address}:{share}"
    for option in ("no-such-option", "uid=me", "uid=-1", "uid=4294967295", "gid=", "cache=sometimes",
                   "permissions=all", "owner=nobody", "timeout=0", "timeout=soon", "lanes=0", "lanes=1000"):
        _expect_mount_fails(1, [option.split("=", maxsplit=1)[0]], source, options=[option])
    _expect_mount_fails(1, ["--no-such-flag"], source, flags=["--no-such-flag"])


@case
def sources_that_make_no_sense_are_refused():
    for source in ("nonsense", "unix:relative", "tcp:1:/share", "vsock:x:1:/share", "vsock:2:0:/share",
                   "unix:/run/s", "unix:" + "/x" * 80 + ":/share"):
        done = mount_command(source, _mountpoint())
        _expect(done, 1)
        assert done.stderr.strip(), source


@case
def mounting_without_root_is_refused():
    share = _directory()
    server = Server([share])
    done = world.as_user([program("bindshare-mount"), f"{server.address}:{share}", _mountpoint()])
    _expect(done, 1, "root")


@case
def no_arguments_at_all_gives_the_usage():
    for name, code in (("bindshare-mount", 1), ("bindshare-fileserver", 64), ("bindsharectl", 64)):
        done = world.as_user([program(name)])
        _expect(done, code, "sage")


@case
def help_and_version_are_given():
    for name in ("bindshare-mount", "bindshare-fileserver", "bindsharectl"):
        done = world.as_user([program(name), "--version"])
        assert done.returncode == 0 and done.stdout.startswith(name), done
        done = world.as_user([program(name), "--help"])
        assert done.returncode == 0 and name in done.stdout, done


# The server's side.

@case
def a_shared_directory_that_is_missing_or_a_file_is_refused():
    share = _directory()
    path = write_file(share + "/file", "x")
    _expect(Server([share + "/nowhere"], wait=False).try_run(), 66, share + "/nowhere")
    _expect(Server([path], wait=False).try_run(), 66, path)


@case
def an_address_in_use_is_reported():
    share = _directory()
    first = Server([share])
    second = Server([share], listen=first.address, wait=False)
    _expect(second.try_run(), 69, first.address)
    assert first.alive()
    Mount(first, share)


@case
def a_socket_left_by_a_killed_server_is_replaced():
    share = _directory()
    first = Server([share])
    world.kill(first.process.pid)
    first.process.wait()
    assert os.path.exists(first.address[len("unix:"):])
    Mount(Server([share], listen=first.address), share)


@case
def addresses_that_make_no_sense_are_refused():
    share = _directory()
    for address in ("nonsense", "unix:", "vsock:", "vsock:x", "vsock:0", "unix:" + "/x" * 80):
        done = Server([share], listen=address, wait=False).try_run()
        _expect(done, 64)
        assert done.stderr.strip(), address


@case
def a_vsock_address_without_a_token_is_refused():
    share = _directory()
    _expect(Server([share], listen="vsock:7000", wait=False).try_run(), 64, "--trust-cid")
    _expect(Server([share], listen="vsock:7000", arguments=["--trust-cid", "3"], wait=False).try_run(), 64,
            "--token-file")


@case
def a_hybrid_address_without_a_token_is_refused():
    place = world.case_directory("run")
    os.chown(place, world.UID, world.GID)
    _expect(Server([_directory()], listen=f"unix:{place}/s_7000", wait=False).try_run(), 64, "--token-file")


@case
def a_socket_directory_that_others_may_write_to_is_refused():
    share = _directory()
    place = world.case_directory("open")
    os.chmod(place, 0o777)
    done = Server([share], listen=f"unix:{place}/s", wait=False).try_run()
    assert done.returncode != 0 and place in done.stderr, done


@case
def a_token_file_of_the_server_that_others_may_read_is_refused():
    share = _directory()
    path = _token_file(TOKEN, 0o644, (world.UID, world.GID))
    _expect(Server([share], arguments=["--token-file", path], wait=False).try_run(), 77, path)


@case
def settings_that_are_malformed_are_refused():
    place = _directory("settings")
    for text in ("", "{", "[]", '{"FilesharingDirectories": ["/home"', '{"FilesharingDirectories": "/home"}',
                 '{"FilesharingDirectories": [], "bindshare": {"share": {}}}', "\0"):
        path = write_file(place + "/settings.json", text, 0o600)
        _expect(Server([], arguments=["--settings", path], wait=False).try_run(), 78, path)


@case
def settings_that_others_may_write_are_refused():
    share = _directory()
    path = write_file(_directory("settings") + "/settings.json", json.dumps({"FilesharingDirectories": [share]}), 0o666)
    done = Server([], arguments=["--settings", path], wait=False).try_run()
    assert done.returncode in (77, 78) and path in done.stderr, done


@case
def settings_that_are_not_there_are_reported():
    done = Server([], arguments=["--settings", "/nowhere/settings.json"], wait=False).try_run()
    assert done.returncode in (66, 78) and "/nowhere/settings.json" in done.stderr, done


@case
def options_of_the_server_that_make_no_sense_are_refused():
    share = _directory()
    for more in (["--no-such-option"], ["--lanes", "0"], ["--lanes", "x"], ["surplus"], ["--trust-cid", "me"]):
        _expect(Server([share], arguments=more, wait=False).try_run(), 64)


@case
def the_server_refuses_to_run_as_root():
    share = _directory()
    server = Server([share], uid=0, gid=0, wait=False)
    server.command.remove("--allow-root")
    _expect(server.try_run(), 77, "root", "--allow-root")


@case
def bindsharectl_without_a_server_says_so():
    path = os.path.join(world.case_directory("run"), "control")
    _expect(world.as_user([program("bindsharectl"), "status", "--control", path]), 69, path)
    _expect(world.as_user([program("bindsharectl"), "no-such-command", "--control", path]), 64)


# Nonsense on the wire.

@case
def nonsense_on_the_socket_harms_nobody():
    share = _directory()
    server = Server([share])
    mount = Mount(server, share)
    before = server.descriptors()
    path = server.address[len("unix:"):]
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 24, b"\xff" * 4096, b"BSHR"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            try:
                while client.recv(4096):
                    pass
            except (ConnectionError, socket.timeout):
                pass
    assert server.alive()
    wait_for(lambda: server.descriptors() <= before, "descriptors are given back", 10)
    write_file(mount / "file", "x", owner=(0, 0))
    assert os.path.exists(share + "/file")
    Mount(server, share)


@case
def a_flood_of_silent_connections_does_not_keep_others_out():
    share = _directory()
    server = Server([share])
    path = server.address[len("unix:"):]
    silent = []
    try:
        for _ in range(30):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(1)
            try:
                client.connect(path)
            except OSError:
                client.close()
                break
            silent.append(client)
        wait_for(lambda: mount_command(f"{server.address}:{share}", _mountpoint()).returncode == 0,
                 "a mount although others are silent", 40, 1)
    finally:
        for client in silent:
            client.close()
    assert server.alive()


run()
