#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Settings, token, log and programs of the server lie in a share: a guest has no way to change them."""
import ctypes
import errno
import json
import os
import shutil
import subprocess
import threading
import time

from lib import Mount, Server, case, expect_errno, program, read_file, run, skip, wait_for, world, write_file
from lib.control import Subscriber, ask

_libc = ctypes.CDLL(None, use_errno=True)
_EXCHANGE = 2
_TOKEN = "0123456789abcdef" * 4
_SETTINGS = ".docker/desktop/settings-store.json"
_REFUSED = (errno.EPERM,)


def _call(function, *arguments):
    if function(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _exchange(one, other):
    _call(_libc.renameat2, -100, one.encode(), -100, other.encode(), _EXCHANGE)


def _write(path, flags=os.O_WRONLY, content=b'{"FilesharingDirectories":["/"]}'):
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


class Home:
    """A user's home that is shared writable, with all that steers the server in it."""

    def __init__(self, settings=True, secret=False, inside=None, served=None, program_inside=False):
        self.path = os.path.join(inside or world.case_directory("host"), "home")
        self.make("")
        for name in (".docker", ".docker/desktop", ".config", ".config/bindshare", ".config/systemd",
                     ".config/systemd/user", "bin", "log", "kept"):
            if settings or not name.startswith(".docker"):
                self.make(name)
        world.write_file(self.host(".config/systemd/user/bindshare-fileserver.service"), "[Service]\n")
        world.write_file(self.host("log/server.log"), "")
        if settings:
            world.write_file(self.host(_SETTINGS), json.dumps({"FilesharingDirectories": [served or self.path]}), 0o600)
        os.environ["HOME"] = self.path
        os.environ.pop("XDG_CONFIG_HOME", None)
        arguments = ["--log-file", self.host("log/server.log")]
        if secret:
            world.write_file(self.host(".config/bindshare/token"), _TOKEN + "\n", 0o600)
            arguments += ["--token-file", self.host(".config/bindshare/token")]
        self.server = Server([] if settings else [served or self.path], arguments=arguments, wait=False)
        if secret:
            self.server.token_file = self.host(".config/bindshare/token")
        if program_inside:
            shutil.copy(program("bindshare-fileserver"), self.host("bin/bindshare-fileserver"))
            os.chown(self.host("bin/bindshare-fileserver"), world.UID, world.GID)
            self.server.command[0] = self.host("bin/bindshare-fileserver")
        self.server.log = os.path.join(self.server.directory, "stderr.log")
        self.server.start()
        self.mount = Mount(self.server, served or self.path)

    def make(self, name):
        path = os.path.join(self.path, name) if name else self.path
        os.mkdir(path, 0o755)
        os.chown(path, world.UID, world.GID)
        return path

    def host(self, name):
        return os.path.join(self.path, name)

    def guest(self, name):
        return os.path.join(self.mount.where, name)

    def shares(self):
        return [share["path"] for share in ask(self.server.control, "shares")["shares"]]

    def log(self):
        return read_file(self.host("log/server.log")).decode()


def _picture(home, names):
    """What must be the same afterwards: kind, content, owner's bits and inode of each, and what its directory holds."""
    picture = {}
    for name in names:
        path = home.host(name)
        st = os.lstat(path)
        content = sorted(os.listdir(path)) if os.path.isdir(path) else read_file(path)
        picture[name] = (st.st_ino, oct(st.st_mode), st.st_nlink, content)
    return picture


def _attack_file(home, name):
    """Every way to a file that is there."""
    path, work = home.guest(name), home.guest("kept/mine")
    home_directory = os.path.dirname(path)
    write_file(work, '{"FilesharingDirectories":["/"]}', 0o600, (0, 0))
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC,
                  os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        expect_errno(_REFUSED, os.open, path, flags, 0o600)
    expect_errno(_REFUSED, os.truncate, path, 0)
    expect_errno(_REFUSED, os.chmod, path, 0o666)
    expect_errno(_REFUSED, os.chown, path, 7, 7)
    expect_errno(_REFUSED, os.utime, path)
    expect_errno(_REFUSED, os.setxattr, path, "user.x", b"1")
    expect_errno(_REFUSED, os.unlink, path)
    expect_errno(_REFUSED, os.rename, path, home.guest("kept/taken"))
    expect_errno(_REFUSED, os.rename, work, path)
    expect_errno(_REFUSED, _exchange, work, path)
    expect_errno(_REFUSED, os.link, path, home.guest("kept/linked"))
    # A new version on its way, and a directory on the way to it.
    for new in ("new", "." + os.path.basename(name) + ".swp"):
        expect_errno(_REFUSED, _write, os.path.join(home_directory, new), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    expect_errno(_REFUSED, os.mkdir, os.path.join(home_directory, "new"))
    expect_errno(_REFUSED, os.symlink, "/etc", os.path.join(home_directory, "new"))
    expect_errno(_REFUSED, os.link, work, os.path.join(home_directory, "new"))
    expect_errno((errno.EPERM, errno.EOPNOTSUPP), os.open, home_directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    step = home_directory
    while step != home.mount.where:
        expect_errno(_REFUSED, os.rename, step, home.guest("kept/taken"))
        expect_errno(_REFUSED, os.chmod, step, 0o777)
        expect_errno((errno.EPERM, errno.ENOTEMPTY), os.rmdir, step)
        os.mkdir(home.guest("kept/other"))
        expect_errno(_REFUSED, _exchange, home.guest("kept/other"), step)
        os.rmdir(home.guest("kept/other"))
        step = os.path.dirname(step)
    os.unlink(work)


@case
def the_settings_cannot_be_changed_by_any_way_that_a_guest_has():
    home = Home()
    assert home.shares() == [home.path]
    before = _picture(home, [_SETTINGS, ".docker", ".docker/desktop"])
    _attack_file(home, _SETTINGS)
    assert _picture(home, [_SETTINGS, ".docker", ".docker/desktop"]) == before
    assert home.shares() == [home.path]
    # All else is as it was: beside the way to it, and in what does not steer the server.
    _write(home.guest(".docker/config.json"), os.O_WRONLY | os.O_CREAT)
    _write(home.guest("kept/file"), os.O_WRONLY | os.O_CREAT)
    os.rename(home.guest("kept"), home.guest("kepts"))
    assert json.loads(read_file(home.guest(_SETTINGS)))["FilesharingDirectories"] == [home.path]


@case
def settings_that_are_not_there_yet_cannot_be_made():
    home = Home(settings=False)
    other = home.guest("kept/prepared")
    os.makedirs(other + "/desktop")
    _write(other + "/desktop/settings-store.json", os.O_WRONLY | os.O_CREAT)
    expect_errno(_REFUSED, os.mkdir, home.guest(".docker"))
    expect_errno(_REFUSED, os.symlink, "kept/prepared", home.guest(".docker"))
    expect_errno(_REFUSED, os.rename, other, home.guest(".docker"))
    expect_errno(_REFUSED, _write, home.guest(".docker"), os.O_WRONLY | os.O_CREAT)
    assert not os.path.lexists(home.host(".docker"))


@case
def settings_that_the_user_makes_later_are_protected():
    home = Home(settings=False)
    events = Subscriber(home.server.control)
    stop = threading.Event()
    made = []

    def attack():
        """Puts settings there as soon as the directory is, before the server can know of it."""
        while not stop.is_set():
            try:
                os.makedirs(home.guest(".docker/desktop"), exist_ok=True)
                _write(home.guest(_SETTINGS), os.O_WRONLY | os.O_CREAT)
                made.append(1)
            except OSError:
                pass

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        for _ in range(100):
            home.make(".docker")
            time.sleep(0.02)
            assert not os.listdir(home.host(".docker"))
            os.rename(home.host(".docker"), home.host("away"))
            home.make(".docker")
            home.make(".docker/desktop")
            assert not os.listdir(home.host(".docker/desktop"))
            os.rmdir(home.host(".docker/desktop"))
            os.rmdir(home.host(".docker"))
            os.rmdir(home.host("away"))
        home.make(".docker")
    finally:
        stop.set()
        thread.join()
    assert not made
    home.make(".docker/desktop")
    write_file(home.host(_SETTINGS), "{}", 0o600)
    wait_for(lambda: os.path.exists(home.guest(_SETTINGS)), "the settings are seen")
    _attack_file(home, _SETTINGS)
    assert events.wait("change-refused")["what"] == "settings file"


def _reads(path, content):
    try:
        return read_file(path).decode() == content
    except OSError:
        return False


def _fails(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno == errno.EPERM
    return False


@case
def an_editors_new_version_is_protected_before_it_has_its_name():
    home = Home()
    stop = threading.Event()
    written = []

    def attack():
        while not stop.is_set():
            for name in os.listdir(home.guest(".docker/desktop")):
                try:
                    _write(home.guest(".docker/desktop/" + name))
                    written.append(name)
                except OSError:
                    pass

    thread = threading.Thread(target=attack)
    thread.start()
    content = json.dumps({"FilesharingDirectories": [home.path]}) + " " * 4096
    try:
        for number in range(200):
            new = write_file(home.host(f".docker/desktop/.#{number}"), content, 0o600)
            os.rename(new, home.host(_SETTINGS))
    finally:
        stop.set()
        thread.join()
    assert not written, written
    assert read_file(home.host(_SETTINGS)).decode() == content
    wait_for(lambda: _reads(home.guest(_SETTINGS), content), "the last version is seen")
    # The last version's inode number may be the next new file's, until the server has looked.
    wait_for(lambda: not _fails(_write, home.guest("kept/probe"), os.O_WRONLY | os.O_CREAT), "new files can be made")
    _attack_file(home, _SETTINGS)


@case
def settings_are_protected_through_a_hard_link_and_what_was_opened_before():
    home = Home()
    os.link(home.host(_SETTINGS), home.host("kept/linked"))
    expect_errno(_REFUSED, _write, home.guest("kept/linked"))
    expect_errno(_REFUSED, os.truncate, home.guest("kept/linked"), 0)
    expect_errno(_REFUSED, os.chmod, home.guest("kept/linked"), 0o666)
    os.unlink(home.guest("kept/linked"))
    # The user makes a file of the share his settings, while the guest has it open.
    write_file(home.host("kept/draft"), json.dumps({"FilesharingDirectories": [home.path]}), 0o600)
    descriptor = os.open(home.guest("kept/draft"), os.O_RDWR | os.O_DIRECT)
    os.rename(home.host("kept/draft"), home.host(_SETTINGS))
    wait_for(lambda: _fails(os.pwrite, descriptor, b"x" * 512, 4096), "what is open is protected")
    expect_errno(_REFUSED, os.ftruncate, descriptor, 0)
    os.close(descriptor)


@case
def a_link_and_a_mount_on_the_way_are_steps_of_it():
    home = Home()
    os.rename(home.host(".docker/desktop"), home.host("kept/real"))
    os.symlink("../kept/real", home.host(".docker/desktop"))
    os.makedirs(home.host("seen"))
    subprocess.run(["mount", "--bind", home.host("kept"), home.host("seen")], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", home.host("seen")], check=False))
    wait_for(lambda: _fails(os.rmdir, home.guest("kept/real")), "the target of the link")
    expect_errno(_REFUSED, os.unlink, home.guest(".docker/desktop"))
    expect_errno(_REFUSED, os.rename, home.guest(".docker/desktop"), home.guest("bin/link"))
    for way in ("kept", "seen"):
        expect_errno(_REFUSED, _write, home.guest(way + "/real/settings-store.json"))
        expect_errno(_REFUSED, os.unlink, home.guest(way + "/real/settings-store.json"))
        expect_errno((errno.EPERM, errno.EBUSY), os.rename, home.guest(way + "/real"), home.guest(way + "/away"))
    expect_errno((errno.EPERM, errno.EBUSY), os.rename, home.guest("kept"), home.guest("bin/work"))


@case
def the_token_is_neither_read_nor_listed():
    home = Home(secret=True)
    folder = home.guest(".config/bindshare")
    write_file(home.host(".config/bindshare/token.77.tmp"), _TOKEN, 0o600)
    write_file(home.host(".config/bindshare/other"), "seen", 0o644)
    os.link(home.host(".config/bindshare/token"), home.host("kept/linked"))
    assert os.listdir(folder) == ["other"]
    for name in ("token", "token.77.tmp"):
        expect_errno(errno.ENOENT, os.stat, os.path.join(folder, name))
        expect_errno(errno.ENOENT, os.open, os.path.join(folder, name), os.O_RDONLY)
    wait_for(lambda: _fails(os.open, home.guest("kept/linked"), os.O_RDONLY), "another name of the token")
    expect_errno(_REFUSED, _write, os.path.join(folder, "token"), os.O_WRONLY | os.O_CREAT)
    expect_errno(_REFUSED, os.rename, os.path.join(folder, "other"), os.path.join(folder, "token"))
    expect_errno(_REFUSED, os.rename, folder, home.guest("kept/folder"))
    assert read_file(home.host(".config/bindshare/token")).decode().strip() == _TOKEN
    # A new one is hidden as well.
    home.server.ctl("token", "rotate")
    assert os.listdir(folder) == ["other"]


@case
def the_log_is_written_by_the_server_alone():
    home = Home()
    expect_errno(_REFUSED, _write, home.guest("log/server.log"), os.O_WRONLY | os.O_APPEND)
    expect_errno(_REFUSED, os.unlink, home.guest("log/server.log"))
    expect_errno(_REFUSED, os.rename, home.guest("log/server.log"), home.guest("log/away"))
    expect_errno(_REFUSED, os.rename, home.guest("log"), home.guest("away"))
    _write(home.guest("log/mine"), os.O_WRONLY | os.O_CREAT)
    # A link that was there before the server is not followed.
    write_file(home.host("kept/bystander"), "as it was")
    os.symlink("../kept/bystander", home.host("log/link.log"))
    server = Server([home.path], arguments=["--log-file", home.host("log/link.log")], wait=False)
    done = server.try_run()
    assert done.returncode == 73 and "link.log" in done.stderr and "symbolic link" in done.stderr, done
    assert read_file(home.host("kept/bystander")) == b"as it was"


@case
def the_service_managers_units_cannot_be_made_or_changed():
    home = Home()
    unit = home.guest(".config/systemd/user/bindshare-fileserver.service")
    before = _picture(home, [".config/systemd", ".config/systemd/user"])
    expect_errno(_REFUSED, _write, unit)
    expect_errno(_REFUSED, os.unlink, unit)
    expect_errno(_REFUSED, os.mkdir, unit + ".d")
    expect_errno(_REFUSED, os.symlink, "x", home.guest(".config/systemd/user/default.target.wants"))
    expect_errno(_REFUSED, _write, home.guest(".config/systemd/user.conf"), os.O_WRONLY | os.O_CREAT)
    expect_errno(_REFUSED, os.mkdir, home.guest(".config/environment.d"))
    expect_errno(_REFUSED, os.rename, home.guest(".config/systemd"), home.guest("kept/systemd"))
    expect_errno(_REFUSED, os.rename, home.guest(".config"), home.guest("kept/config"))
    assert _picture(home, [".config/systemd", ".config/systemd/user"]) == before
    # A share of what lies in there can only be read.
    deep = home.make(".config/systemd/user/deep")
    home.server.ctl("share", "add", deep)
    mount = Mount(home.server, deep)
    expect_errno(errno.EROFS, os.mkdir, mount / "new")


@case
def the_program_and_its_directory_cannot_be_changed():
    home = Home(program_inside=True)
    path = home.guest("bin/bindshare-fileserver")
    before = read_file(home.host("bin/bindshare-fileserver"))
    expect_errno((errno.EPERM, errno.ETXTBSY), _write, path)
    expect_errno(_REFUSED, os.unlink, path)
    expect_errno(_REFUSED, _write, home.guest("bin/bindsharectl"), os.O_WRONLY | os.O_CREAT)
    expect_errno(_REFUSED, os.rename, home.guest("bin"), home.guest("kept/bin"))
    assert read_file(home.host("bin/bindshare-fileserver")) == before


@case
def a_mount_of_a_directory_on_the_way_is_no_way_round():
    home = Home()
    for name in (".docker", ".docker/desktop"):
        mount = Mount(home.server, home.host(name))
        rest = os.path.relpath(home.host(_SETTINGS), home.host(name))
        expect_errno(_REFUSED, _write, mount / rest)
        expect_errno(_REFUSED, os.unlink, mount / rest)
        expect_errno(_REFUSED, os.mkdir, mount / os.path.join(os.path.dirname(rest), "new"))
    above = os.path.dirname(home.path)
    os.chown(above, world.UID, world.GID)
    home.server.ctl("share", "add", above)
    mount = Mount(home.server, above)
    expect_errno(_REFUSED, os.rename, mount / "home", mount / "away")
    expect_errno(_REFUSED, _write, mount / ("home/" + _SETTINGS))


@case
def the_user_is_told_of_a_refused_change_of_his_settings():
    home = Home()
    assert f"settings file {home.host(_SETTINGS)} lies in the shared directory {home.path}" in home.log()
    events = Subscriber(home.server.control)
    expect_errno(_REFUSED, _write, home.guest(_SETTINGS))
    event = events.wait("change-refused")
    assert event["what"] == "settings file" and event["protected"] == home.host(_SETTINGS), event
    assert event["share"] == home.path
    status = ask(home.server.control, "status")
    assert {"what": "settings file", "path": home.host(_SETTINGS), "share": home.path} in status["protected"], status
    assert status["changes_refused"] == 1
    assert "was refused a change of the server's settings file" in home.log()
    doctor = home.server.ctl("doctor", check=False).stdout
    assert home.host(_SETTINGS) in doctor, doctor


@case
def other_spellings_of_a_name_are_the_same_name():
    if shutil.which("mkfs.vfat") is None and shutil.which("mkfs.ext4") is None:
        skip("no mkfs.vfat and no mkfs.ext4")
    image = os.path.join(world.case_directory("disk"), "image")
    place = world.case_directory("folded")
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-O", "casefold", image], check=False, capture_output=True)
    options = "loop"
    if made.returncode != 0 or subprocess.run(["mount", "-o", options, image, place], check=False,
                                              capture_output=True).returncode != 0:
        skip("no ext4 with casefold here")
    world.at_end(lambda: subprocess.run(["umount", "-l", place], check=False))
    inside = os.path.join(place, "folded")
    os.mkdir(inside)
    if subprocess.run(["chattr", "+F", inside], check=False, capture_output=True).returncode != 0:
        skip("no casefold here")
    os.chown(inside, world.UID, world.GID)
    home = Home(settings=False, inside=inside)
    for name in (".DOCKER", ".Docker", ".doc\u212aer", ".docKer"):
        expect_errno(_REFUSED, os.mkdir, home.guest(name))
    os.mkdir(home.guest(".docker2"))
    home.make(".docker")
    home.make(".docker/desktop")
    write_file(home.host(_SETTINGS), "{}", 0o600)
    wait_for(lambda: _fails(os.mkdir, home.guest(".docker/desktop/x")), "the step that is there now")
    expect_errno(_REFUSED, os.rename, home.guest(".DOCKER"), home.guest("away"))
    expect_errno(_REFUSED, _write, home.guest(".Docker/DESKTOP/Settings-Store.json"))


run()
