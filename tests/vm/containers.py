#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The whole chain in a guest with a kernel of its own: bindshare-guestd mounts over a real vsock device what the host
shares, crun and runc start containers on it through bindshare-runtime, and so does a real dockerd.

BINDSHARE_VM_KERNEL chooses another kernel (tests/vm/virtual/parts.py); one before 6.12 does without what it lacks, and
says so.
"""
import json
import os
import subprocess

import host
from lib import case, program, skip, wait_for, world
from lib.common.programs import BUILT
from lib.server import TOKEN

KERNEL = os.environ.get("BINDSHARE_VM_KERNEL", "6.12")
LIMIT = 90
HOME = "/home/me"  # on the host; the guest has a /home, too, and nothing in it
FALL_BACK = "this kernel does not map ids of FUSE mounts (it takes Linux 6.12)"
CONFIG = "/etc/bindshare/guest.json"
_ENGINE = ("dockerd", "containerd", "containerd-shim-runc-v2", "ctr", "docker", "docker-init")
_DAEMON = {"runtimes": {"bindshare": {"path": "/usr/sbin/bindshare-runtime"}}, "default-runtime": "bindshare",
           "authorization-plugins": ["bindshare"], "bridge": "none", "iptables": False, "ip6tables": False}


def _has_runtime():
    return os.path.exists(os.path.join(world.BUILD, BUILT["bindshare-runtime"]))


def _programs(image):
    """What is installed in a guest that has containers."""
    for name in ("bindshare-mount", "bindshare-guestd", *(["bindshare-runtime"] if _has_runtime() else [])):
        image.program(program(name), f"usr/sbin/{name}")
    for name in ("crun", "runc", *_ENGINE):
        image.program(name)
    image.directory("home")
    image.directory("host_mnt")
    image.directory("etc/docker")
    for name in ("bin", "proc", "sys", "dev", "src", "etc", "tmp"):
        image.directory(f"bundle/rootfs/{name}")
    image.copy("/usr/bin/busybox", "bundle/rootfs/bin/busybox")
    for name in ("sh", "cat", "id", "ls", "stat", "echo", "touch", "sleep"):
        image.link(f"bundle/rootfs/bin/{name}", "busybox")


GUEST = host.the_guest(KERNEL, more=_programs, memory=2560)


class _Host:
    """The user's directory, and a server for it that the guest finds at port 7000."""

    def __init__(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home"], check=True)
        for name in ("proj", "private", "late"):
            os.makedirs(f"{HOME}/{name}")
        subprocess.run(["chown", "-R", f"{world.UID}:{world.GID}", HOME], check=True)
        world.write_file(f"{HOME}/proj/file", "from the host\n")
        os.mkdir(f"{HOME}/proj/below")
        world.write_file(f"{HOME}/proj/below/deep", "deep\n")
        os.symlink("below", f"{HOME}/proj/link")
        self.server = host.VsockServer(GUEST(), [f"{HOME}/proj"], port=7000, wait=False)
        self.start()

    def start(self):
        # Not at the end of a case: all of them use it.
        self.server.start()
        world.keep()


class _Chain:
    """Host and guestd, made by the first case that wants them."""
    made = None

    def __init__(self):
        machine = GUEST().machine
        machine.put("/etc/bindshare/token", TOKEN + "\n", 0o600)
        machine.put(CONFIG, json.dumps({"address": "vsock:2:7000", "tokenFile": "/etc/bindshare/token",
                                        "waitSeconds": 20, "mountOptions": "timeout=5"}))
        # Before there is a server: it must wait for it.
        self.guestd = machine.start("exec bindshare-guestd --log-level debug")
        wait_for(lambda: self.status()["server"]["state"] != "connected", "bindshare-guestd runs", LIMIT)
        self.host = _Host()
        self.wait_for_share(f"{HOME}/proj", "mounted")

    def status(self):
        code, output = GUEST().machine.run("bindshare-guestd --status --json", LIMIT)
        assert self.guestd.code is None, self.guestd.output
        return json.loads(output) if code == 0 else {"server": {"state": "none"}, "shares": []}

    def wait_for_share(self, path, state):
        def is_so():
            return {share["path"]: share["state"] for share in self.status()["shares"]}.get(path) == state
        try:
            wait_for(is_so, f"{path} is {state}", LIMIT, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status()}\n{self.guestd.output[-3000:]}") from None


def _chain():
    if _Chain.made is None:
        _Chain.made = _Chain()
    return _Chain.made


def _bundle(name, command, source, user=0, options=("rbind", "rw")):
    """A bundle in the guest whose container has source at /src."""
    place = os.path.join(world.case_directory("bundle"), "b")
    os.mkdir(place)
    subprocess.run(["runc", "spec", "--bundle", place], check=True, timeout=20)
    with open(os.path.join(place, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update({"terminal": False, "args": ["sh", "-c", command], "user": {"uid": user, "gid": user}})
    config["root"] = {"path": "/bundle/rootfs", "readonly": True}
    config["mounts"].append({"destination": "/src", "type": "bind", "source": source, "options": list(options)})
    GUEST().machine.put(f"/run/bundles/{name}/config.json", json.dumps(config))
    return f"/run/bundles/{name}"


def _run(runtime, name, command, source, **more):
    """A container by runc or crun through bindshare-runtime; (exit code, output)."""
    if not _has_runtime():
        skip("bindshare-runtime is not built")
    _chain()
    config = json.loads(GUEST().machine.must(f"cat {CONFIG}"))
    config["runtime"] = GUEST().machine.must(f"command -v {runtime}").strip()
    GUEST().machine.put(f"/etc/bindshare/{runtime}.json", json.dumps(config))
    bundle = _bundle(f"{runtime}-{name}", command, source, **more)
    return GUEST().machine.run(["bindshare-runtime", "--bindshare-config", f"/etc/bindshare/{runtime}.json", "run",
                                "--bundle", bundle, f"{runtime}-{name}"], LIMIT)


@case
def the_agent_waits_for_the_server_and_mounts_what_is_shared():
    _chain()
    machine = GUEST().machine
    for path in (f"/host_mnt{HOME}/proj", f"{HOME}/proj"):
        assert machine.must(f"cat {path}/file") == "from the host\n", path
    machine.must(f"echo new > {HOME}/proj/new")
    seen = os.stat(f"{HOME}/proj/new")
    assert (seen.st_uid, seen.st_size) == (world.UID, 4), seen
    code, _ = machine.run(f"ls {HOME}/private")
    assert code != 0, "what is not shared is there"


@case
def what_is_added_is_mounted_and_what_is_removed_goes():
    chain = _chain()
    chain.host.server.ctl("share", "add", f"{HOME}/late")
    chain.wait_for_share(f"{HOME}/late", "mounted")
    GUEST().machine.must(f"touch {HOME}/late/file")
    assert os.listdir(f"{HOME}/late") == ["file"]
    chain.host.server.ctl("share", "rm", f"{HOME}/late")
    chain.wait_for_share(f"{HOME}/late", None)
    code, _ = GUEST().machine.run(f"ls {HOME}/late/file")
    assert code != 0


@case
def a_server_that_is_killed_and_comes_back_is_mounted_again():
    chain = _chain()
    chain.host.server.signal(chain.host.server.process.pid)
    chain.host.server.process.wait(10)
    wait_for(lambda: chain.status()["server"]["state"] != "connected", "the agent misses the server", LIMIT)
    chain.host.start()
    wait_for(lambda: GUEST().machine.run(f"cat {HOME}/proj/file", LIMIT)[0] == 0, "the share is back", LIMIT)


@case
def a_device_that_stands_still_is_waited_for():
    _chain()
    world.at_end(GUEST().vsock.resume)
    GUEST().vsock.pause()
    code, output = GUEST().machine.run(f"cat {HOME}/proj/file {HOME}/proj/other", LIMIT)
    assert code != 0, output
    GUEST().vsock.resume()
    wait_for(lambda: GUEST().machine.run(f"cat {HOME}/proj/file", LIMIT)[0] == 0, "the share is back", LIMIT)


def _container_sees_the_hosts_files(runtime):
    code, output = _run(runtime, "root", "cat /src/file && echo inside > /src/by-" + runtime + " && id -u",
                        f"{HOME}/proj")
    assert (code, output) == (0, "from the host\n0\n"), (code, output)
    with open(f"{HOME}/proj/by-{runtime}", encoding="ascii") as file:
        assert file.read() == "inside\n"
    assert os.stat(f"{HOME}/proj/by-{runtime}").st_uid == world.UID
    code, output = _run(runtime, "user", "touch /src/user-" + runtime + " && stat -c %u /src/user-" + runtime,
                        f"{HOME}/proj", user=1000)
    if GUEST().kernel.version < (6, 12):
        assert code != 0 and FALL_BACK in output and "Permission denied" in output, (code, output)
    else:
        assert (code, output) == (0, "1000\n"), (code, output)
        assert os.stat(f"{HOME}/proj/user-{runtime}").st_uid == world.UID


def _container_is_refused(runtime):
    for source in (f"{HOME}/private", "/nowhere/at/all"):
        code, output = _run(runtime, "refused", "echo started", source)
        assert code != 0 and "started" not in output, (code, output)
        assert f"Mounts denied: The path {source} is not shared from the host" in output, output
    code, _ = GUEST().machine.run(f"test -e {HOME}/private")
    assert code != 0


@case
def a_container_of_crun_sees_the_hosts_files():
    _container_sees_the_hosts_files("crun")


@case
def a_container_of_runc_sees_the_hosts_files():
    _container_sees_the_hosts_files("runc")


@case
def a_path_that_is_not_shared_is_refused_to_crun():
    _container_is_refused("crun")


@case
def a_path_that_is_not_shared_is_refused_to_runc():
    _container_is_refused("runc")


def _dockerd():
    """Starts it, with an image of busybox called box."""
    if not _has_runtime():
        skip("bindshare-runtime is not built")
    for name in _ENGINE[:3]:
        if GUEST().machine.run(f"command -v {name}")[0] != 0:
            skip(f"there is no {name} (package docker.io)")
    machine = GUEST().machine
    machine.put("/etc/docker/daemon.json", json.dumps(_DAEMON))
    machine.must("mkdir -p /var/lib/docker /var/tmp/docker && mount --bind /var/tmp/docker /var/lib/docker")
    running = machine.start("exec dockerd")
    wait_for(lambda: running.code is not None or machine.run("docker version", LIMIT)[0] == 0, "dockerd answers", 120,
             0.5)
    assert running.code is None, running.output[-4000:]
    machine.must("tar -C /bundle/rootfs -c . | docker import - box", 120)
    return machine


@case
def docker_run_just_works_and_refuses_what_is_not_shared():
    _chain()
    machine = _dockerd()
    output = machine.must(f"docker run --rm -v {HOME}/proj:/src box sh -c 'cat /src/file; echo d > /src/docker'", 180)
    assert output == "from the host\n", output
    assert os.stat(f"{HOME}/proj/docker").st_uid == world.UID
    output = machine.must(f"docker run --rm -u 1000 --mount type=bind,source={HOME}/proj/link,target=/src,readonly box "
                          "sh -c 'cat /src/deep; touch /src/no 2>/dev/null || echo read-only'", 180)
    assert output.endswith("deep\nread-only\n"), output
    assert (FALL_BACK in output) == (GUEST().kernel.version < (6, 12)), output
    code, output = machine.run(f"docker run --rm -v {HOME}/private:/src box sh -c 'echo started'", 180)
    assert code != 0 and "started" not in output.split(), output
    assert f"Mounts denied: The path {HOME}/private is not shared from the host" in output, output
    # The plugin was asked before dockerd makes what is missing.
    assert machine.run(f"test -e {HOME}/private")[0] != 0


host.run(600)
