#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a user does who has just installed it: every command of README's everyday use, the service of the session."""
import glob
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess

from lib import Guest, Server, case, mount_command, program, read_file, run, skip, wait_for, world, write_file
from lib.common.programs import BUILT
from lib.server import TOKEN

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
UNIT = os.path.join(world.BUILD, "fileserver", "bindshare-fileserver.service")
# What needs a service manager, or an engine that knows the runtime: a case of its own here, tests/packages and
# tests/docker run these.
ELSEWHERE = {"systemctl --user enable --now bindshare-fileserver", "systemctl enable --now bindshare-guestd",
             "docker run --rm -v /home/me/projects:/src alpine ls /src"}


def _blocks():
    """The commands of each block of README's everyday use, without their comments."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split("\n## Everyday use\n")[1].split("\n## ")[0]
    return [[line.split("  #")[0].split(" # ")[0].strip() for line in block.splitlines() if line.strip()]
            for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


def _overlay(path):
    """A directory of the system, in which this world may write."""
    place = os.path.join("/run", "over" + path.replace("/", "-"))
    for name in ("upper", "work"):
        os.makedirs(os.path.join(place, name))
    subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={path},upperdir={place}/upper,workdir={place}/work",
                    "overlay", path], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", path], check=False))


class User:
    """An ordinary user who has logged in, with an empty home, a runtime directory and the programs in PATH."""

    def __init__(self, runtime="/run/user"):
        self.home = os.path.join(world.case_directory("home"), "me")
        self.programs = world.case_directory("bin")
        self.runtime = os.path.join(runtime, str(world.UID))
        os.makedirs(runtime, exist_ok=True)
        for path in (self.home, self.runtime):
            os.mkdir(path, 0o700)
            os.chown(path, world.UID, world.GID)
        world.at_end(lambda: shutil.rmtree(self.runtime))
        for name in BUILT:
            if name.startswith("bindshare"):
                os.symlink(program(name), os.path.join(self.programs, name))
        self.environment = {**world.sanitizer_environment(), "HOME": self.home, "XDG_RUNTIME_DIR": self.runtime,
                            "PATH": f"{self.programs}:{os.environ['PATH']}"}
        self.socket = os.path.join(self.runtime, "bindshare", "server.sock")
        self.log = os.path.join(world.case_directory("log"), "user.log")

    def make(self, *names):
        for name in names:
            os.mkdir(os.path.join(self.home, name))
            os.chown(os.path.join(self.home, name), world.UID, world.GID)

    def call(self, line, **more):
        """A line at his shell's prompt, which must do."""
        done = world.as_user(["bash", "--norc", "-c", line], cwd=self.home, env=self.environment, **more)
        assert done.returncode == 0, (line, done)
        return done.stdout

    def start(self, line):
        """A line that stays; it listens when this returns."""
        with open(self.log, "ab") as log:
            size = log.tell()
            process = subprocess.Popen(["bash", "--norc", "-c", "exec " + line], user=world.UID, group=world.GID,
                                       extra_groups=[], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        world.at_end(lambda: process.poll() is None and (process.kill(), process.wait()))
        text = wait_for(lambda: (b"listening" in read_file(self.log)[size:] or process.poll() is not None) and
                        read_file(self.log)[size:].decode(), "the server says something")
        assert process.poll() is None, text
        return process

    def top(self, line):
        """A line that draws until q is pressed."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(["bash", "--norc", "-c", "exec " + line], user=world.UID, group=world.GID,
                                   env={**self.environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs,
                                   stderr=theirs)
        world.at_end(lambda: process.poll() is None and (process.kill(), process.wait()))
        os.close(theirs)
        text = b""
        while b"requests/s" not in text:
            text += os.read(ours, 4096)
        os.write(ours, b"q")
        assert process.wait(10) == 0
        os.close(ours)


@case
def the_everyday_commands_of_the_readme_do_what_they_say():
    user = User()
    user.make("projects", "reference", "more")
    host = _blocks()[0]
    server = user.start(host[0])
    for line in host[1:]:
        if line.endswith(" top"):
            user.top(line)
        elif line not in ELSEWHERE:
            print("# " + user.call(line).replace("\n", "\n# "))
        if line.startswith("bindsharectl share add"):
            assert f"{user.home}/more" in user.call("bindsharectl share ls")
    shares = {share["path"]: share for share in json.loads(user.call("bindsharectl share ls --json"))["shares"]}
    assert {os.path.basename(path): share["read_only"] for path, share in shares.items()} == {
        "projects": False, "reference": True}, shares
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    assert os.listdir(user.runtime + "/bindshare") == []


@case
def the_guests_commands_of_the_readme_do_what_they_say():
    blocks = _blocks()
    of_guest = next(block for block in blocks if "bindshare-guestd --status" in block)
    by_hand = next(block for block in blocks if any(line.startswith("bindshare-mount vsock") for line in block))
    token, = next(block for block in blocks if any("/dev/urandom" in line for line in block))
    known = [host for block in blocks[:1] for host in block] + of_guest + by_hand + [token]
    assert sorted(known) == sorted(line for block in blocks for line in block), "README has commands unknown here"
    user = User()
    user.call(token)
    assert re.fullmatch(rb"[0-9a-f]{64}", read_file(user.home + "/bindshare.token"))
    assert os.stat(user.home + "/bindshare.token").st_mode & 0o777 == 0o600
    user.make("projects", "reference")
    write_file(user.home + "/projects/file", "content")
    server = Server([user.home + "/projects", user.home + "/reference:ro"], token=TOKEN)
    _overlay("/etc")
    _overlay("/usr/sbin")
    write_file("/etc/bindshare.token", TOKEN + "\n", 0o600, (0, 0))
    os.symlink(program("bindshare-mount"), "/usr/sbin/mount.fuse.bindshare")
    os.makedirs("/run/guest/projects")
    os.makedirs("/run/guest/mnt")
    environment = {**os.environ, "PATH": f"{user.programs}:{os.environ['PATH']}"}
    for line in by_hand:
        # There is no vsock here, and the guest must not mount on what it is given.
        line = line.replace(" /home/me/projects", " /run/guest/projects").replace("/mnt", "/run/guest/mnt")
        line = line.replace("vsock:2:7000:/home/me", f"{server.address}:{user.home}")
        done = subprocess.run(shlex.split(line), env=environment, capture_output=True, text=True, check=False,
                              timeout=30)
        assert done.returncode == 0, (line, done)
        if "/run/guest/projects" in line:
            assert read_file("/run/guest/projects/file") == b"content"
    guest = Guest(server.address, [user.home], token=TOKEN).start()
    os.mkdir("/etc/bindshare")
    write_file("/etc/bindshare/guest.json", read_file(guest.config_file), 0o644, (0, 0))
    for line in of_guest:
        if line not in ELSEWHERE:
            said = guest.do(*shlex.split(line), env=environment).stdout
            assert re.search(rf"^mounted .*{user.home}/projects", said, re.MULTILINE), said


def _service(user):
    """The line that the session's service manager runs."""
    with open(UNIT, encoding="utf-8") as file:
        line, = re.findall(r"^ExecStart=(.*)$", file.read(), re.MULTILINE)
    return re.sub(r"^\S*/", "", line).replace("%t", user.runtime)


@case
def the_service_of_a_user_who_has_nothing_starts_empty_and_keeps_what_he_adds():
    user = User()
    server = user.start(_service(user))
    assert "no directory is shared" in user.call("bindsharectl share ls")
    assert b"share add" in read_file(user.log)
    user.make("projects")
    said = user.call("bindsharectl share add ~/projects")
    assert "until the server ends" not in said, said
    kept = user.home + "/.docker/desktop/settings-store.json"
    with open(kept, encoding="utf-8") as file:
        assert json.load(file)["FilesharingDirectories"] == [user.home + "/projects"]
    for path in (kept, os.path.dirname(kept), user.home + "/.docker"):
        assert os.stat(path).st_mode & 0o077 == 0 and os.stat(path).st_uid == world.UID, path
    where = world.case_directory("mnt")
    mounted = mount_command(f"unix:{user.socket}:{user.home}/projects", where)
    assert mounted.returncode == 0, mounted
    subprocess.run(["umount", where], check=True)
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    server = user.start(_service(user))
    assert user.home + "/projects" in wait_for(lambda: user.call("bindsharectl share ls"), "it answers")
    user.call("bindsharectl share rm ~/projects")
    assert "no directory is shared" in user.call("bindsharectl share ls")
    # What is wrong with the file that is there by now is told.
    write_file(kept, "{", 0o600)
    wait_for(lambda: "ERROR" in user.call("bindsharectl status"), "the error is told")


class Session:
    """A service manager of the user's, as a login starts it, in a control group of its own."""

    manager = "/lib/systemd/systemd"

    def __init__(self, user):
        if not os.path.exists(self.manager) or shutil.which("systemctl") is None:
            skip("systemd is not installed")
        os.makedirs("/run/systemd/system", exist_ok=True)  # by which systemd knows that it may
        subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=False, capture_output=True)
        if subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=False).returncode:
            skip("there are no control groups of version 2")
        for stale in glob.glob("/sys/fs/cgroup/bindshare-e2e.*"):
            self._remove(stale)
        self.group = f"/sys/fs/cgroup/bindshare-e2e.{os.path.basename(world.work_directory())}"
        os.mkdir(self.group)
        world.at_end(self.end)
        for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
            os.chown(self.group + name, world.UID, world.GID)
        self.user = user
        self.process = subprocess.Popen(
            ["sh", "-c", f"echo $$ >{self.group}/cgroup.procs && exec setpriv --reuid={world.UID} --regid={world.GID} "
             f"--clear-groups {self.manager} --user"], env=user.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.process.poll() is not None or os.path.exists(user.runtime + "/systemd/private"),
                 "the user's service manager is there")
        if self.process.poll() is not None:
            skip("systemd does not run as a user's service manager here")

    @staticmethod
    def _remove(group):
        """Empty control groups, from the innermost outwards."""
        for path, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return not os.path.exists(group)

    def end(self):
        with open(self.group + "/cgroup.kill", "w", encoding="ascii") as file:
            file.write("1")
        self.process.wait(10)
        wait_for(lambda: self._remove(self.group), "the control group is removed")


@case
def the_service_is_enabled_and_started_by_the_session_of_a_fresh_user():
    user = User()
    units = user.home + "/.config/systemd/user"
    subprocess.run(["install", "-d", "-o", str(world.UID), "-g", str(world.GID), user.home + "/.config",
                    user.home + "/.config/systemd", units], check=True)
    unit = re.sub(rb"ExecStart=\S*/", b"ExecStart=" + os.fsencode(user.programs) + b"/", read_file(UNIT))
    write_file(units + "/bindshare-fileserver.service", unit)
    Session(user)
    line, = (line for line in ELSEWHERE if line.startswith("systemctl --user"))
    user.call(line)
    # Type=notify: it listens when the command returns.
    assert user.call("systemctl --user is-active bindshare-fileserver") == "active\n"
    assert "no directory is shared" in user.call("bindsharectl share ls")
    user.make("projects")
    user.call("bindsharectl share add ~/projects")
    user.call("systemctl --user restart bindshare-fileserver")
    assert f"{user.home}/projects" in user.call("bindsharectl share ls")
    user.call("systemctl --user stop bindshare-fileserver")
    assert not os.path.exists(user.runtime + "/bindshare")


@case
def a_default_settings_file_that_appears_malformed_is_told():
    user = User()
    user.start(_service(user))
    user.make(".docker", ".docker/desktop")
    write_file(user.home + "/.docker/desktop/settings-store.json", "[", 0o600)
    wait_for(lambda: "line 1" in user.call("bindsharectl status"), "the error is told")


@case
def a_runtime_directory_that_was_made_by_hand_is_closed_to_others():
    user = User()
    user.make("projects")
    os.mkdir(user.runtime + "/bindshare")
    os.chmod(user.runtime + "/bindshare", 0o755)
    os.chown(user.runtime + "/bindshare", world.UID, world.GID)
    user.start("bindshare-fileserver --listen unix:$XDG_RUNTIME_DIR/bindshare/server.sock --share ~/projects")
    assert os.stat(user.runtime + "/bindshare").st_mode & 0o777 == 0o700
    assert "listening at" in user.call("bindsharectl status")


@case
def without_a_session_the_control_socket_is_there_all_the_same():
    user = User("/run/others")
    user.make("projects")
    del user.environment["XDG_RUNTIME_DIR"]
    place = f"/tmp/bindshare-{world.UID}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp"], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", "/tmp"], check=False))
    line = f"bindshare-fileserver --listen unix:{user.runtime}/s --share ~/projects"
    # Somebody else has made it: neither side takes it.
    os.mkdir(place)
    server = user.start(line)
    wait_for(lambda: b"no control socket" in read_file(user.log), "what is wrong is told")
    done = world.as_user(["bindsharectl", "status"], env=user.environment)
    assert done.returncode == 64 and place in done.stderr, done
    server.terminate()
    server.wait(10)
    os.rmdir(place)
    user.start(line)
    assert "listening at" in user.call("bindsharectl status")
    assert os.stat(place).st_mode & 0o777 == 0o700
    # What the first command would come to in a shell without a session says why it cannot be.
    done = world.as_user(["bash", "-c", "bindshare-fileserver --listen unix:$XDG_RUNTIME_DIR/bindshare/server.sock "
                                        "--control /run/others/none --share ~/projects"], env=user.environment)
    assert done.returncode == 66 and "XDG_RUNTIME_DIR is not set" in done.stderr, done


run(120)
