#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindsharectl: its commands, tables and JSON, exit codes, completion."""
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import threading

from lib import Mount, Rig, Server, case, expect_errno, program, run, skip, wait_for, world, write_file

COMPLETION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "ctl", "completion")


def _directory(name="share"):
    path = os.path.join(world.case_directory("host"), name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


def _command(server, *arguments):
    return [program("bindsharectl"), *arguments, "--control", server.control]


@case
def shares_are_listed_added_and_removed():
    one, two = _directory("one"), _directory("two")
    server = Server([one])
    assert "until the server ends" in server.ctl("share", "add", "--read-only", two)
    assert re.search(rf"^ro +served +control +{two}$", server.ctl("share", "ls"), re.MULTILINE)
    expect_errno(30, os.mkdir, Mount(server, two) / "dir")
    assert json.loads(server.ctl("share", "rm", two, "--json")) == {"version": 1, "removed": two, "persistent": False,
                                                                      "still_shared": False}
    below = os.path.join(one, "below")
    os.mkdir(below)
    os.chown(below, world.UID, world.GID)
    server.ctl("share", "add", below)
    assert "another shared directory" in server.ctl("share", "rm", below)
    assert two not in server.ctl("share", "ls")
    # A relative path is one of where it is called.
    done = world.as_user(_command(server, "share", "add", "two"), cwd=os.path.dirname(two))
    assert done.returncode == 0 and two in server.ctl("share", "ls"), done


@case
def settings_are_changed_by_hand_and_by_command():
    one, two = _directory("one"), _directory("two")
    place = _directory("settings")
    path = write_file(place + "/settings.json", json.dumps({"FilesharingDirectories": [one], "other": 1}), 0o600)
    server = Server([], arguments=["--settings", path])
    assert "until" not in server.ctl("share", "add", two)
    with open(path, encoding="utf-8") as file:
        assert json.load(file) == {"FilesharingDirectories": [one, two], "other": 1}
    server.ctl("share", "rm", one)
    with open(path, encoding="utf-8") as file:
        assert json.load(file)["FilesharingDirectories"] == [two]
    done = server.ctl("share", "rm", two, "--no-persist", check=False)
    assert done.returncode == 78 and "settings file" in done.stderr, done


@case
def what_is_wrong_has_its_exit_code_and_words():
    share = _directory()
    server = Server([share])
    file = write_file(share + "/file")
    for code, words, arguments in (
            (64, "share add DIR", ["share", "add"]), (64, "share add DIR", ["share", "rename", share]),
            (64, "--interval", ["top", "--interval", "0"]), (64, "--count", ["top", "-n", "x"]),
            (65, "absolute path", ["share", "add", "/a/../b"]), (66, "make the directory", ["share", "add", "/none"]),
            (66, "not a directory", ["share", "add", file]), (66, "share ls", ["share", "rm", "/etc"]),
            (78, "--token-file", ["token", "rotate"])):
        done = server.ctl(*arguments, check=False)
        assert done.returncode == code and words in done.stderr, (arguments, done)
    error = server.ctl("share", "rm", "/etc", "--json", check=False)
    assert json.loads(error.stdout)["code"] == "not-shared" and error.returncode == 66, error
    for arguments in (["status"], ["top"], ["events"], ["share", "add", share]):
        done = world.as_user([program("bindsharectl"), *arguments, "--control", server.control + ".none"])
        assert done.returncode == 69 and server.control + ".none" in done.stderr, (arguments, done)


def _plain(*words):
    return world.as_user([program("bindsharectl"), *words], env=world.sanitizer_environment())


@case
def a_usage_error_names_the_word_and_the_nearest_right_one():
    for words, named in (
            (["share", "list"], ['"share list"', '"share ls"']), (["share", "remove", "/a"], ['"share rm"']),
            (["stauts"], ['"stauts"', '"status"']), (["ls"], ['"share ls"']), (["add", "/a"], ['"share add"']),
            (["doctr"], ['"doctor"']), (["token", "rotat"], ['"token rotate"']),
            (["share"], ["share ls", "share rm DIR"]),
            (["frobnicate"], ['"frobnicate"', "share add DIR", "token rotate"]), ([], ["share ls", "doctor"]),
            (["share", "add"], ["share add needs a directory", "share add DIR"]),
            (["share", "rm"], ["share rm needs a directory"]), (["share", "add", "/a", "/b"], ['"/b"', "one DIR"]),
            (["status", "now"], ['"now"', "status takes no argument"]), (["--redonly"], ["--redonly", "--read-only"]),
            (["status", "--read-only"], ["--read-only is an option of share add, not of status"]),
            (["share", "ls", "--guest"], ["--guest", "doctor", "share ls"]), (["top", "-x"], ["-x"]),
            (["top", "--interval"], ["--interval needs a value"]), (["--json=1", "status"], ["--json takes no value"]),
            (["status", "--timeout", "1"], ["--timeout is an option of sync"]),
            (["sync", "--timeout", "x"], ["--timeout x"]), (["snyc"], ['"sync"']),
            (["top", "--sort", "age"], ["--sort age", "requests"]), (["top", "--count", "0"], ["--count 0"]),
            (["help", "shar"], ['"shar"', '"share"'])):
        done = _plain(*words)
        assert done.returncode == 64 and done.stdout == "", (words, done)
        for text in named:
            assert text in done.stderr, (words, text, done.stderr)
        assert "--help" in done.stderr, done
    # What is far from every word is guessed at no more.
    assert "did you mean" not in _plain("frobnicate").stderr


@case
def every_command_has_help():
    whole = _plain("--help").stdout
    assert _plain("help").stdout == whole
    for words in (["share", "ls"], ["share", "add"], ["share", "rm"], ["status"], ["stats"], ["top"], ["events"],
                  ["token", "rotate"], ["doctor"], ["sync"]):
        done = _plain(*words, "--help")
        assert done.returncode == 0 and done.stdout.startswith("Usage: bindsharectl " + " ".join(words)), done
        assert _plain("help", *words).stdout == done.stdout and _plain("-h", *words).stdout == done.stdout
        assert "--control" in done.stdout and ("--read-only" in done.stdout) == (words == ["share", "add"]), done
        assert ("--sort" in done.stdout) == (words == ["top"]), done
        assert ("--timeout" in done.stdout) == (words == ["sync"]), done
    for words in (["share", "--help"], ["help", "share"], ["share", "help"]):
        text = _plain(*words).stdout
        assert "share add DIR" in text and "doctor" not in text, text
    assert "--from-file" in _plain("help", "token", "rotate").stdout


@case
def top_shows_who_does_how_much():
    rig = Rig()
    rig.fill("file", os.urandom(1 << 20))
    stop = threading.Event()

    def work():
        descriptor = os.open(rig.guest("out"), os.O_WRONLY | os.O_CREAT, 0o644)
        while not stop.is_set():
            os.pwrite(descriptor, bytes(65536), 0)
        os.close(descriptor)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        lines = rig.server.ctl("top", "--json", "--count", "2").splitlines()
        table = rig.server.ctl("top", "-n", "1")
    finally:
        stop.set()
        thread.join()
    assert len(lines) == 2, lines
    for line in lines:
        mount, = json.loads(line)["mounts"]
        assert mount["share"] == rig.share and mount["peer"].startswith("uid 0"), mount
        assert mount["requests_per_second"] > 0 and mount["mean_microseconds"] > 0, mount
        assert mount["bytes_per_second"] >= 65536 * mount["requests_per_second"] * 0.5, mount
    assert "requests/s" in table and rig.share in table and "uid 0" in table and "\x1b" not in table, table


def _leases(server):
    """What status says of the leases of each mount, by its share."""
    mounts = json.loads(server.ctl("status", "--json"))["mounts"]
    return {os.path.basename(mount["share"]): mount["leases"] for mount in mounts}


@case
def status_and_top_tell_of_leases_and_why_a_share_has_none():
    leased, plain, foreign = _directory("leased"), _directory("plain"), _directory("foreign")
    for name in ("lower", "upper", "work"):
        os.mkdir(f"{os.path.dirname(foreign)}/{name}")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", os.path.dirname(foreign) + "/upper"], check=True)
    for name in ("up", "work"):
        os.mkdir(f"{os.path.dirname(foreign)}/upper/{name}")
        os.chown(f"{os.path.dirname(foreign)}/upper/{name}", world.UID, world.GID)
    layers = [f"{kind}dir={os.path.dirname(foreign)}/{name}"
              for kind, name in (("lower", "lower"), ("upper", "upper/up"), ("work", "upper/work"))]
    subprocess.run(["mount", "-t", "overlay", "-o", ",".join(layers), "overlay", foreign], check=True)
    server = Server([leased, plain, foreign])
    mounts = [Mount(server, share, "cache=" + cache)
              for share, cache in ((leased, "auto"), (plain, "timeout"), (foreign, "auto"))]
    for number in range(5):
        os.mkdir(f"{leased}/{number}")
    for mount in mounts:
        for entry in os.scandir(mount.where):
            os.stat(entry.path)
    # Open, so that the guest's kernel forgets none of them when another test drops the caches of the machine.
    kept = [os.open(mounts[0] / str(number), os.O_RDONLY) for number in range(5)]
    before = _leases(server)
    assert before["leased"]["state"] == "given" and 6 <= before["leased"]["directories"], before
    assert before["leased"]["directories"] < before["leased"]["directories_max"] <= 65536, before
    assert before["leased"]["overflows"] == 0, before
    assert before["plain"] == {"state": "not-asked", "directories": 0, "directories_max": 0, "events": 0,
                               "overflows": 0}, before
    assert before["foreign"]["state"] == "file-system" and before["foreign"]["directories"] == 0, before
    # What others change is counted, and what the guest changes is not.
    server.ctl("sync")
    before = _leases(server)["leased"]["events"]
    for number in range(5):
        write_file(mounts[0] / f"mine{number}", "x", owner=(0, 0))
    server.ctl("sync")
    assert _leases(server)["leased"]["events"] == before, _leases(server)
    for number in range(5):
        os.mkdir(f"{leased}/{number}/below")
    server.ctl("sync")
    assert _leases(server)["leased"]["events"] >= before + 5, _leases(server)
    table = server.ctl("status")
    assert re.search(rf" [6-9]/\d+ +\d+  {leased}$", table, re.MULTILINE), table
    assert re.search(rf" not-asked +0  {plain}$", table, re.MULTILINE), table
    assert re.search(rf" file-system +0  {foreign}\n +no leases: others can write", table, re.MULTILINE), table
    top = server.ctl("top", "-n", "1")
    assert re.search(rf" [6-9]/\d+ +0 .*{leased}$", top, re.MULTILINE) and "LEASES EVENTS/S" in top, top
    row, = [row for row in json.loads(server.ctl("top", "-n", "1", "--json"))["mounts"] if row["share"] == leased]
    assert row["leases"] == _leases(server)["leased"] and row["lease_events_per_second"] == 0, row
    for descriptor in kept:
        os.close(descriptor)


@case
def top_on_a_terminal_draws_the_table_in_place():
    rig = Rig()
    ours, theirs = pty.openpty()
    with subprocess.Popen(_command(rig.server, "top"), stdin=theirs, stdout=theirs, user=world.UID,
                          group=world.GID) as process:
        os.close(theirs)
        text = b""
        while text.count(b"\x1b[H\x1b[J") < 2:
            text += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
    os.close(ours)


def _top(server, *arguments, columns=200, lines=24):
    """bindsharectl top on a terminal of this size. Its process, and the terminal's other side."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(_command(server, "top", *arguments), stdin=theirs, stdout=theirs, user=world.UID,
                               group=world.GID, env=world.sanitizer_environment())
    world.at_end(lambda: process.poll() is None and (process.kill(), process.wait()))
    return process, ours, theirs


def _screen(ours, what=b"SHARE"):
    """The next whole screen with this in it."""
    text = b""
    while True:
        text += os.read(ours, 65536)
        screens = text.split(b"\x1b[H\x1b[J")
        if len(screens) > 2 and what in screens[-2]:
            return screens[-2].decode().replace("\r\n", "\n")


@case
def top_is_ended_by_q_and_leaves_the_terminal_as_it_was():
    rig = Rig()
    process, ours, theirs = _top(rig.server)
    before = termios.tcgetattr(theirs)
    screen = _screen(ours)
    assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO)
    assert re.match(r"\d\d:\d\d:\d\d  1 mounts", screen) and "q ends" in screen, screen
    os.write(ours, b"xq")
    assert process.wait(10) == 0
    before[3] |= termios.ICANON | termios.ECHO
    assert termios.tcgetattr(theirs)[3] == before[3]
    process, ours, theirs = _top(rig.server)
    _screen(ours)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    assert termios.tcgetattr(theirs)[3] & termios.ECHO


@case
def top_sorts_by_a_key_and_keeps_to_the_width():
    one, two = _directory("z-quiet"), _directory("a-busy")
    server = Server([one, two])
    Mount(server, one)
    busy = Mount(server, two)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            os.statvfs(busy.where)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for key, first in (("requests", "a-busy"), ("pid", "z-quiet"), ("share", None)):
            rows = json.loads(server.ctl("top", "--json", "--count", "1", "--sort", key))["mounts"]
            shares = [row["share"] for row in rows]
            assert first is None or shares[0].endswith(first), (key, shares)
            assert key != "share" or shares == sorted(shares), shares
        process, ours, _ = _top(server, "--interval", "1", columns=60)
        screen = _screen(ours)
        assert all(len(line) <= 60 for line in screen.splitlines()), screen
        assert re.search(r" \.\.\..*/a-busy$", screen, re.MULTILINE), screen
        os.write(ours, b"p")
        assert "by pid" in _screen(ours, b"by pid")
        os.write(ours, b"q")
        assert process.wait(10) == 0
        process, ours, _ = _top(server, columns=200, lines=5)
        assert len(_screen(ours).splitlines()) == 4
        os.write(ours, b"q")
        assert process.wait(10) == 0
    finally:
        stop.set()
        thread.join()


@case
def a_name_that_is_not_there_is_no_error():
    rig = Rig("listings=0")  # each name is a message
    rig.fill("file", "x")
    write_file(rig.guest("mine"), "x", owner=(0, 0))

    def errors():
        operations = json.loads(rig.server.ctl("stats", "--json"))["operations"]
        return {name: (entry["count"], entry["errors"]) for name, entry in operations.items()}

    for number in range(20):
        expect_errno(2, os.stat, rig.guest(f"none{number}"))
    expect_errno(61, os.getxattr, rig.guest("file"), "user.none")
    found = errors()
    assert found["lookup"][0] >= 20 and found["lookup"][1] == 0 and found.get("getxattr", (0, 0))[1] == 0, found
    os.mkdir(rig.guest("full"))
    os.mkdir(rig.guest("full/below"))
    expect_errno(39, os.rmdir, rig.guest("full"))
    assert errors()["rmdir"][1] == 1, errors()


@case
def events_are_lines_as_they_happen():
    rig = Rig()
    with subprocess.Popen(_command(rig.server, "events"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          user=world.UID, group=world.GID) as process, \
            subprocess.Popen(_command(rig.server, "events", "--json"), stdout=subprocess.PIPE, text=True,
                             user=world.UID, group=world.GID) as other:
        assert json.loads(other.stdout.readline())["subscribed"] is True
        assert "waiting for events" in process.stderr.readline()
        share = _directory("other")
        rig.server.ctl("share", "add", share)
        line = process.stdout.readline()
        assert "share-added" in line and share in line and "state: served" in line, line
        assert json.loads(other.stdout.readline())["event"] == "share-added"
        rig.server.process.send_signal(signal.SIGTERM)
        assert "stopping" in process.stdout.readline()
        assert process.wait(10) == 69 and other.wait(10) == 69


@case
def doctor_finds_what_is_wrong_and_says_what_to_do():
    share, gone = _directory(), _directory("gone")
    path = write_file(_directory("settings") + "/settings.json",
                      json.dumps({"FilesharingDirectories": [share, gone]}), 0o600)
    server = Server([], arguments=["--settings", path])
    found = _findings(server)
    assert found["server"]["level"] == found["settings"]["level"] == found["kernel"]["level"] == "ok", found
    for name in ("landlock", "namespaces", "sandbox", "files", "watches", "vsock", "policy"):
        assert name in found, found
    os.rmdir(gone)
    write_file(path, "{", 0o600)
    wait_for(lambda: "line 1" in server.log_text(), "the settings are read")
    done = server.ctl("doctor", "--json", check=False)
    assert done.returncode == 1, done
    found = {entry["text"].split(" ")[0]: entry for entry in json.loads(done.stdout)["findings"]}
    assert found[gone]["level"] == "warning" and f"share rm {gone}" in found[gone]["advice"], found
    assert any(entry["check"] == "settings" and entry["level"] == "error" for entry in found.values()), found
    table = server.ctl("doctor", check=False).stdout
    assert re.search(rf"^warning +share +{gone} is missing$", table, re.MULTILINE), table
    server.stop()
    done = server.ctl("doctor", check=False)
    assert done.returncode == 1 and "Start bindshare-fileserver" in done.stdout, done


@case
def doctor_names_the_path_in_its_advice():
    share = _directory("it's a share")
    server = Server([share])
    os.rename(share, share + ".away")
    os.mkdir(share)
    done = wait_for(lambda: "replaced" in server.ctl("share", "ls") and server.ctl("doctor"), "it is replaced")
    line, = re.findall(r"run: (bindsharectl share add .*)", done)
    assert shlex.split(line) == ["bindsharectl", "share", "add", share], line
    server.ctl("share", "rm", share)
    assert re.search(r"^note +share +no directory is shared\n +Run: bindsharectl share add DIR$", server.ctl("doctor"),
                     re.MULTILINE)


def _findings(server):
    return {entry["check"]: entry for entry in json.loads(server.ctl("doctor", "--json"))["findings"]}


def _shares_mounted():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        shares = {line.split()[2] for line in file if " - fuse.bindshare " in line}
    assert shares
    return len(shares)


@case
def doctor_of_the_guest_needs_no_server():
    rig = Rig()
    done = subprocess.run([program("bindsharectl"), "doctor", "--guest", "--json"], capture_output=True, text=True,
                          check=False, timeout=20, env=world.sanitizer_environment())
    answer = json.loads(done.stdout)
    found = {entry["check"]: entry for entry in answer["findings"]}
    assert done.returncode == 0 and answer["side"] == "guest", done
    assert found["fuse"]["level"] == found["root"]["level"] == "ok" and "idmap" in found and "vsock" in found, found
    assert found["mounts"]["text"] == f"{_shares_mounted()} shares are mounted", found
    # What a container has of it is no other share.
    clone = _directory("clone")
    subprocess.run(["mount", "--bind", rig.mount.where, clone], check=True)
    done = subprocess.run([program("bindsharectl"), "doctor", "--guest", "--json"], capture_output=True, text=True,
                          check=False, timeout=20, env=world.sanitizer_environment())
    found = {entry["check"]: entry for entry in json.loads(done.stdout)["findings"]}
    subprocess.run(["umount", clone], check=True)
    assert found["mounts"]["text"] == f"{_shares_mounted()} shares are mounted", found
    done = world.as_user([program("bindsharectl"), "doctor", "--guest"], env=world.sanitizer_environment())
    assert done.returncode == 1 and "as root" in done.stdout, done
    rig.end()


@case
def token_rotate_changes_the_token_file():
    share = _directory()
    server = Server([share], token="ab" * 32)
    assert server.token_file in server.ctl("token", "rotate")
    with open(server.token_file, encoding="ascii") as file:
        assert file.read().strip() != "ab" * 32
    Mount(server, share)


def _words_of_help():
    done = world.as_user([program("bindsharectl"), "--help"])
    commands = set(re.findall(r"^  ([a-z]+) ", done.stdout, re.MULTILINE))
    return commands, set(re.findall(r"--[a-z-]+", done.stdout))


@case
def completions_know_every_command_and_option():
    commands, options = _words_of_help()
    assert {"share", "top", "doctor"} <= commands and "--read-only" in options
    for name in os.listdir(COMPLETION):
        with open(os.path.join(COMPLETION, name), encoding="utf-8") as file:
            text = file.read()
        for word in commands:
            assert re.search(rf"\b{word}\b", text), f"{name} does not know {word}"
        for option in options:
            known = re.search(rf"-l {option[2:]}\b", text) if name.endswith(".fish") else option in text
            assert known, f"{name} does not know {option}"
    assert len(os.listdir(COMPLETION)) == 3


@case
def completions_work_in_their_shells():
    share = _directory("a share")
    script = f"""
        source {COMPLETION}/bindsharectl.bash
        complete_line() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _bindsharectl
            echo "${{COMPREPLY[*]}}"
        }}
        complete_line bindsharectl s
        complete_line bindsharectl share ''
        complete_line bindsharectl --j
        cd {os.path.dirname(share)}
        complete_line bindsharectl share add a
        complete_line bindsharectl sync a
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=20)
    lines = done.stdout.splitlines()
    assert set(lines[0].split()) == {"share", "stats", "status", "sync"}, lines
    assert set(lines[1].split()) == {"ls", "add", "rm"}, lines
    assert lines[2].split() == ["--json"], lines
    assert lines[3] == lines[4] == "a share", lines
    missing = []
    for shell, arguments in (("zsh", ["-n"]), ("fish", ["--no-execute"])):
        if shutil.which(shell) is None:
            missing.append(shell)
            continue
        done = subprocess.run([shell, *arguments, f"{COMPLETION}/bindsharectl.{shell}"], capture_output=True,
                              text=True, check=False, timeout=20)
        assert done.returncode == 0, done
    if missing:
        skip(f"not installed: {', '.join(missing)}")


run()
