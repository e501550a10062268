#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The host deletes, replaces or moves what the guest has looked at a moment ago: what the guest changes then by name is
what is at the name now, and what it changes by descriptor is what it has open, as on a local directory.
"""
import errno
import itertools
import os
import shutil
import stat
import subprocess

from lib import GID, UID, Rig, as_user, case, read_file, run, wait_for, world

SCRIPT = "#!/bin/sh\necho {}\n"


def _put(path, content, mode=0o755):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(path, mode)
    os.chown(path, UID, GID)


def _set_up(top):
    os.mkdir(top + "/d")
    os.mkdir(top + "/d/e")
    for path in (top + "/d/f", top + "/d/e/f", top + "/d/other"):
        _put(path, SCRIPT.format("old"))
    for path in (top + "/d", top + "/d/e"):
        os.chown(path, UID, GID)


def _warm(top):
    """The guest's kernel knows all of it, and has read it."""
    for path in ("/d/f", "/d/e/f", "/d/other"):
        # Under a lease it takes a moment until a name that was made just now is there.
        wait_for(lambda path=path: os.path.exists(top + path), path, 5)
        read_file(top + path)
    os.listdir(top + "/d")
    os.listdir(top + "/d/e")


# What the host does.
def _delete(top):
    os.unlink(top + "/d/f")


def _replace(top):
    _put(top + "/d/f.new", SCRIPT.format("new"))
    os.rename(top + "/d/f.new", top + "/d/f")


def _move_away(top):
    os.rename(top + "/d/f", top + "/d/f~")


def _save_with_backup(top):
    os.rename(top + "/d/f", top + "/d/f~")
    _put(top + "/d/f", SCRIPT.format("new"))


def _move_directory(top):
    os.rename(top + "/d", top + "/d~")


def _replace_directory(top):
    os.rename(top + "/d", top + "/d~")
    _set_up(top)
    _put(top + "/d/f", SCRIPT.format("new"))


def _remove_directory(top):
    shutil.rmtree(top + "/d")
    _set_up(top)
    _put(top + "/d/f", SCRIPT.format("new"))


HOST = [_delete, _replace, _move_away, _save_with_backup, _move_directory, _replace_directory, _remove_directory]


def _write(flags, content):
    def write(path):
        descriptor = os.open(path, flags, 0o644)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
    return write


# What the guest does by name.
GUEST = {
    "open w": _write(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, b"guest"),
    "open a": _write(os.O_WRONLY | os.O_CREAT | os.O_APPEND, b"guest"),
    "open r+": _write(os.O_RDWR, b"guest"),
    "truncate": lambda path: os.truncate(path, 3),
    "chmod": lambda path: os.chmod(path, 0o700),
    "utime": lambda path: os.utime(path, (1, 1)),
    "setxattr": lambda path: os.setxattr(path, "user.x", b"1"),
    "removexattr": lambda path: os.removexattr(path, "user.x"),
    "link": lambda path: os.link(path, os.path.dirname(path) + "/linked"),
    "unlink": os.unlink,
    "rename": lambda path: os.rename(path, os.path.dirname(path) + "/renamed"),
    "rename over": lambda path: os.rename(os.path.dirname(path) + "/other", path),
    "mkdir": lambda path: os.mkdir(os.path.dirname(path) + "/made"),
    "symlink": lambda path: os.symlink("x", os.path.dirname(path) + "/made"),
    "mknod": lambda path: os.mknod(os.path.dirname(path) + "/made"),
    "create": lambda path: _write(os.O_WRONLY | os.O_CREAT | os.O_EXCL, b"x")(os.path.dirname(path) + "/made"),
    "rmdir": lambda path: os.rmdir(os.path.dirname(path)),
    "chmod directory": lambda path: os.chmod(os.path.dirname(path), 0o711),
}

# What it reads by name: under a lease without asking the server, so that the change must have been taken in.
READ = {
    "exec": lambda path: subprocess.run([path], check=False, capture_output=True).stdout,
    "read": read_file,
}

# What the guest does with what it has open.
OPEN = {
    "write": lambda descriptor: os.pwrite(descriptor, b"guest", 0) and None,
    "ftruncate": lambda descriptor: os.ftruncate(descriptor, 3),
    "fchmod": lambda descriptor: os.fchmod(descriptor, 0o700),
    "fchown": lambda descriptor: os.fchown(descriptor, 5, 5),
    "futimens": lambda descriptor: os.utime(descriptor, (1, 1)),
    "fsetxattr": lambda descriptor: os.setxattr(descriptor, "user.x", b"1"),
    "reopen": lambda descriptor: os.truncate(f"/proc/self/fd/{descriptor}", 4),
    "open again": lambda descriptor: _write(os.O_WRONLY | os.O_TRUNC, b"again")(f"/proc/self/fd/{descriptor}"),
    "chmod by link": lambda descriptor: os.chmod(f"/proc/self/fd/{descriptor}", 0o711),
}


def _outcome(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def _picture(top):
    """Every name with what can be seen of it but times of now; the view's owners are left out."""
    found = {}
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            content = read_file(path) if stat.S_ISREG(seen.st_mode) else None
            xattrs = [key for key in os.listxattr(path, follow_symlinks=False) if "override" not in key]
            found[os.path.relpath(path, top)] = (oct(seen.st_mode), content, xattrs,
                                                 seen.st_mtime if seen.st_mtime < 10 else None)
    return found


def _compare(rig, local, name, step, host, ask):
    """One round in a directory of its own on both sides. Problems."""
    seen = []
    for top, there in ((rig.guest(name), rig.host(name)), (local + "/" + name, local + "/" + name)):
        os.mkdir(there)
        os.chown(there, UID, GID)
        _set_up(there)
        _warm(top)
        seen.append((ask(top, lambda there=there: host(there)), _picture(there)))
    return [] if seen[0] == seen[1] else [f"{step} after {host.__name__}: guest {seen[0]}\n  local {seen[1]}"]


def _by_name(rig, steps, before):
    local, problems = world.case_directory("local"), []
    for number, (host, (step, function)) in enumerate(itertools.product(HOST, steps.items())):
        def ask(top, change, function=function):
            change()
            before()
            return _outcome(function, top + "/d/f")
        problems += _compare(rig, local, f"r{number}", step, host, ask)
    assert not problems, f"{len(problems)} of {len(HOST) * len(steps)}:\n" + "\n".join(problems[:6])
    rig.end()


@case
def what_is_changed_by_name_is_what_is_there_now():
    _by_name(Rig(), GUEST, lambda: None)


@case
def what_is_executed_by_name_is_what_is_there_now():
    rig = Rig()
    _by_name(rig, READ, lambda: rig.server.ctl("sync"))


@case
def without_a_lease_it_is_so_without_waiting():
    _by_name(Rig("cache=timeout"), READ, lambda: None)


@case
def what_is_changed_in_a_deeper_directory_is_what_is_there_now():
    rig, problems = Rig(), []
    local = world.case_directory("local")
    hosts = [_move_directory, _replace_directory, _remove_directory]
    for number, (host, (step, function)) in enumerate(itertools.product(hosts, GUEST.items())):
        def ask(top, change, function=function):
            change()
            return _outcome(function, top + "/d/e/f")
        problems += _compare(rig, local, f"r{number}", step, host, ask)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:6])
    rig.end()


@case
def what_is_changed_by_name_is_what_is_there_now_while_the_old_file_is_open():
    rig, problems = Rig(), []
    local = world.case_directory("local")
    for number, (host, (step, function)) in enumerate(itertools.product(HOST[:4], GUEST.items())):
        if step == "exec":
            continue
        def ask(top, change, function=function):
            with open(top + "/d/f", "rb"):
                change()
                return _outcome(function, top + "/d/f")
        problems += _compare(rig, local, f"r{number}", step, host, ask)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:6])
    rig.end()


@case
def what_is_changed_by_descriptor_is_what_is_open():
    rig, problems = Rig(), []
    local = world.case_directory("local")
    for number, (host, (step, function)) in enumerate(itertools.product(HOST, OPEN.items())):
        def ask(top, change, function=function):
            descriptor = os.open(top + "/d/f", os.O_RDWR)
            try:
                change()
                result = _outcome(function, descriptor)
                return result, os.pread(descriptor, 100, 0), oct(os.fstat(descriptor).st_mode)
            finally:
                os.close(descriptor)
        problems += _compare(rig, local, f"r{number}", step, host, ask)
    assert not problems, f"{len(problems)} of {len(HOST) * len(OPEN)}:\n" + "\n".join(problems[:6])
    rig.end()


@case
def names_are_made_in_a_directory_that_the_host_made_anew():
    """The guest's kernel still knows the removed one."""
    rig, problems = Rig(), []
    makes = {"mkdir": os.mkdir, "symlink": lambda path: os.symlink("x", path), "mknod": os.mknod,
             "link": lambda path: os.link(os.path.dirname(path) + "/f", path)}
    for step, make in makes.items():
        for number in range(40):
            name = f"{step}{number}"
            os.mkdir(rig.host(name))
            _set_up(rig.host(name))
            _warm(rig.guest(name))
            _remove_directory(rig.host(name))
            problems.append(_outcome(make, rig.guest(name) + "/d/made"))
    assert set(problems) == {None}, {error: problems.count(error) for error in set(problems)}
    rig.end()


@case
def a_working_directory_that_the_host_moved_goes_on_working():
    rig = Rig()
    _set_up(rig.host())
    _warm(rig.guest())
    script = ("cd {0} && mv {1}/d {1}/moved && mkdir made && echo x >file && chmod 700 file && mv file renamed && "
              "ln renamed linked && rm linked && rmdir made && echo y >>f && echo y >>e/f && pwd -P && ls")
    done = subprocess.run(["sh", "-ec", script.format(rig.guest("d"), rig.host())], check=False, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(rig.host("moved"))) == ["e", "f", "other", "renamed"]
    assert read_file(rig.host("moved/e/f")).endswith(b"y\n") and read_file(rig.host("moved/f")).endswith(b"y\n")
    rig.end()


@case
def other_names_of_one_file_are_told_apart():
    """Two names of one file are known, and the host takes one of them away or gives it to another file."""
    for replace in (False, True):
        rig = Rig()
        rig.fill("one", "old")
        os.link(rig.host("one"), rig.host("two"))
        for _ in range(2):
            read_file(rig.guest("one"))
            read_file(rig.guest("two"))
        os.unlink(rig.host("one"))
        if replace:
            rig.fill("one", "new")
        with open(rig.guest("one"), "ab") as file:
            file.write(b"+")
        with open(rig.guest("two"), "ab") as file:
            file.write(b"-")
        assert read_file(rig.host("one")) == (b"new+" if replace else b"+")
        assert read_file(rig.host("two")) == b"old-"
        rig.end()


@case
def many_threads_find_the_new_file_at_once():
    """One is told that the name is stale, the others come by the old one meanwhile."""
    rig = Rig()
    for number in range(40):
        rig.fill("file", "old")
        read_file(rig.guest("file"))
        rig.fill("new", "new")
        os.rename(rig.host("new"), rig.host("file"))
        pids = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0:
                descriptor = os.open(rig.guest("file"), os.O_WRONLY | os.O_APPEND)
                os._exit(0 if os.write(descriptor, b"+") == 1 else 1)
            pids.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6
        assert read_file(rig.host("file")) == b"new++++++", (number, read_file(rig.host("file")))
    rig.end()


@case
def what_a_user_of_the_guest_changes_by_name_is_what_is_there_now():
    rig = Rig()
    rig.fill("file", "old", mode=0o666)
    read_file(rig.guest("file"))
    os.rename(rig.host("file"), rig.host("file~"))
    rig.fill("file", "new", mode=0o666)
    done = as_user(["sh", "-c", f"echo guest >>{rig.guest('file')}"], 1000, 1000)
    assert done.returncode == 0, done.stderr
    assert read_file(rig.host("file")) == b"newguest\n" and read_file(rig.host("file~")) == b"old"
    rig.end()


run()
