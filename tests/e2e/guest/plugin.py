#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The authorization plugin: which requests to the Engine API it lets through, in every form that leads to a bind."""
import base64
import http.client
import json
import os
import signal
import socket
import threading
import time

from lib import Pair, case, run, wait_for, world


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def _pair(*names, **config):
    pair = Pair(*names, **config)
    pair.guest.stop()
    pair.guest.config["pluginSocket"] = os.path.join(pair.guest.directory, "plugins/bindshare.sock")
    pair.guest.write_config()
    pair.guest.start()
    return pair


def _post(pair, path, body, method="POST"):
    """Status and object."""
    connection = _Connection(pair.guest.config["pluginSocket"])
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def _ask(pair, body, uri="/v1.41/containers/create?name=x", method="POST", headers=None):
    """What dockerd is told: None when it may go on, else why not."""
    request = {"User": "", "RequestMethod": method, "RequestUri": uri, "RequestHeaders": headers or {}}
    if body is not None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        request["RequestBody"] = base64.b64encode(text).decode()
    status, answer = _post(pair, "/AuthZPlugin.AuthZReq", json.dumps(request))
    assert status == 200, answer
    assert answer["Allow"] or answer["Msg"], answer
    return None if answer["Allow"] else answer["Msg"]


def _mount(source, **more):
    return {"Type": "bind", "Source": source, "Target": "/x", **more}


def _driver(source, options="bind"):
    return {"type": "none", "o": options, "device": source}


def _forms(path):
    """Every form of a request that binds path: (uri, body)."""
    create, service = "/v1.41/containers/create", {"ContainerSpec": {"Mounts": [_mount(path)]}}
    yield create, {"HostConfig": {"Binds": [f"{path}:/x"]}}
    yield create, {"HostConfig": {"Binds": ["name:/y", f"{path}:/x:ro,z,rslave"]}}
    yield create, {"HostConfig": {"Mounts": [_mount(path)]}}
    yield create, {"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t"}, _mount(path, ReadOnly=True)]}}
    yield create, {"HostConfig": {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {
        "DriverConfig": {"Name": "local", "Options": _driver(path)}}}]}}
    yield create, {"hostconfig": {"BINDS": [f"{path}:/x"]}}
    yield create, {"HOSTCONFIG": {"mounts": [{"type": "bind", "source": path, "target": "/x"}]}}
    yield create, {"Binds": [f"{path}:/x"]}
    yield create, {"HostConfig": None, "Mounts": [_mount(path)]}
    for uri in ("/containers/create", "//containers/create", "/v1.24//containers/./create?x=/y", "/%63ontainers/create",
                "/v1.41/containers/cr%65ate?#x"):
        yield uri, {"HostConfig": {"Binds": [f"{path}:/x"]}}
    for name in ("abc", "parent/alias", "parent%2Falias"):
        yield f"/v1.23/containers/{name}/start", {"Binds": [f"{path}:/x"]}
    yield "/v1.41/volumes/create", {"Name": "v", "Driver": "local", "DriverOpts": _driver(path)}
    yield "/v1.41/volumes/create", {"driveropts": _driver(path, "ro,rbind")}
    yield "/v1.41/services/create", {"TaskTemplate": service}
    yield "/v1.41/services/abc/update?version=1", {"tasktemplate": service}
    yield "/v1.41/services/create", {"TaskTemplate": {"PluginSpec": {"privileges": [
        {"name": "mount", "value": [path]}]}}}
    yield "/v1.41/plugins/pull?remote=x", [{"Name": "network", "Value": ["host"]}, {"Name": "mount", "Value": [path]}]
    yield "/v1.41/plugins/localhost:5000/x/y/upgrade?remote=x", [{"Name": "mount", "Value": [path]}]
    for setting in ("data.source", "data", "data.", "a.b.source", ".source"):
        yield "/v1.41/plugins/vieux/sshfs/set", ["DEBUG=1", f"{setting}={path}"]


@case
def every_form_is_decided_alike():
    pair = _pair("share")
    pair.make("other")
    for uri, body in _forms(pair.host("share")):
        assert _ask(pair, body, uri) is None, (uri, body)
    for path in ("/etc", pair.host("other"), "/", "/var/lib/docker/../../../etc"):
        shown = os.path.normpath(path)
        for uri, body in _forms(path):
            message = _ask(pair, body, uri)
            words = f"Mounts denied: The path {shown} is not shared from the host and is not known to "
            assert message and message.startswith(words), (uri, body, message)
            assert f"bindsharectl share add {shown}" in message, message
    for uri, body in _forms("/var/lib/docker/volumes/x/_data"):
        assert _ask(pair, body, uri) is None, (uri, body)
    pair.end()


@case
def what_binds_nothing_goes_through():
    pair = _pair("share")
    for method, uri, body in (
            ("GET", "/v1.41/containers/json", None), ("GET", "/_ping", None), ("HEAD", "/_ping", None),
            ("POST", "/v1.41/containers/abc/start", None), ("POST", "/v1.41/containers/abc/stop", None),
            ("POST", "/v1.41/images/create?fromImage=x", None), ("POST", "/build", None),
            ("DELETE", "/v1.41/containers/create", None), ("POST", "/v1.41/containers/abc/exec", {"Cmd": ["/etc:/x"]}),
            ("POST", "/v1.41/containers/create", {"Image": "x"}),
            ("POST", "/v1.41/containers/create", {"HostConfig": {"Binds": None, "Mounts": []}}),
            ("POST", "/v1.41/containers/create", {"HostConfig": {"Binds": ["volume:/x", "/anonymous"]}}),
            ("POST", "/v1.41/containers/create", {"HostConfig": {"Memory": 18446744073709551615}}),
            ("POST", "/v1.41/volumes/create", {"DriverOpts": {"type": "nfs", "o": "addr=x", "device": ":/etc"}}),
            ("POST", "/v1.41/plugins/x/set", ["DEBUG=1", "HOME.value=/etc"]),
            ("POST", "/v1.41/plugins/pull", b"null\n")):
        assert _ask(pair, body, uri, method) is None, (method, uri, body)
    assert _ask(pair, None, "/v1.23/containers/abc/start", headers={"Content-Length": "0"}) is None
    pair.end()


@case
def a_missing_directory_is_made_only_where_docker_makes_it():
    pair = _pair("share", "ro:ro")
    new = pair.host("share/new")
    assert _ask(pair, {"HostConfig": {"Binds": [f"{new}/deep:/x", "/etc:/y"]}})
    assert not os.path.exists(new), "nothing is made for what is refused"
    assert _ask(pair, {"HostConfig": {"Binds": [f"{new}/deep:/x"]}}) is None
    assert os.stat(f"{new}/deep").st_uid == world.UID and not os.listxattr(f"{new}/deep"), "it is the user's"
    new = pair.host("share/other")
    assert "does not exist on the host" in _ask(pair, {"HostConfig": {"Mounts": [_mount(new)]}})
    assert _ask(pair, {"HostConfig": {"Mounts": [_mount(new, BindOptions={"CreateMountpoint": True})]}}) is None
    assert "does not exist" in _ask(pair, {"HostConfig": {"Binds": [f"{pair.host('ro/new')}:/x"]}})
    assert os.path.isdir(new) and not os.path.exists(pair.host("ro/new"))
    pair.end()


@case
def what_the_engine_mounts_itself_must_be_the_share_at_its_path():
    pair = _pair("share", "share/other", "hidden")
    pair.make("share/dir")
    os.symlink("dir", pair.host("share/link"))
    # The guest has a directory of its own at one share's path.
    pair.guest.stop()
    assert pair.guest.try_run("--unmount").returncode == 0
    pair.guest.do("sh", "-c", f"mkdir -p {pair.host('hidden')} && echo own >{pair.host('hidden/own')}")
    pair.guest.start()
    for name, right in (("share", True), ("share/dir", True), ("share/other", True), ("share/link", False),
                        ("hidden", False)):
        path = pair.host(name)
        assert _ask(pair, {"HostConfig": {"Binds": [f"{path}:/x"]}}) is None, path
        message = _ask(pair, {"DriverOpts": _driver(path)}, "/v1.41/volumes/create")
        assert message is None if right else "would find another directory there" in message, (path, message)
    for options in ({"type": "overlay", "o": "lowerdir=/etc", "device": "overlay"},
                    {"type": "ext4", "device": "/dev/vda1"}):
        message = _ask(pair, {"DriverOpts": options}, "/v1.41/volumes/create")
        assert f"A volume of the type {options['type']} is not known to bindshare" in message, message
    message = _ask(pair, None, "/v1.41/containers/x/start?checkpoint=c&checkpoint-dir=/etc")
    assert message.startswith("Mounts denied: The engine writes a checkpoint"), message
    pair.end()


@case
def another_runtime_gets_nothing_of_a_share():
    pair = _pair("share")
    path, own = pair.host("share"), "/var/lib/docker/volumes/x/_data"
    for runtime in ("runc", "io.containerd.runc.v2", "Bindshare"):
        for form in ({"Binds": [f"{path}:/x"]}, {"Mounts": [_mount(path)]}):
            message = _ask(pair, {"HostConfig": {**form, "Runtime": runtime}})
            assert f"the runtime {runtime} knows nothing of shares" in message, message
        assert _ask(pair, {"HostConfig": {"Binds": [f"{own}:/x"], "Runtime": runtime}}) is None
    for runtime in ("bindshare", "", None):
        assert _ask(pair, {"HostConfig": {"Binds": [f"{path}:/x"], "Runtime": runtime}}) is None, runtime
    pair.end()


@case
def the_engine_is_answered_whatever_guestd_does():
    pair = Pair("share")
    pair.guest.stop()
    path = os.path.join(pair.guest.directory, "plugins/bindshare.sock")
    pair.guest.config.update(pluginSocket=path, waitSeconds=1)
    pair.guest.write_config()
    listener, plugin = pair.guest.start_plugin(path)
    bind = {"HostConfig": {"Binds": [f"{pair.host('share')}:/x"]}}

    def harmless():
        began = time.monotonic()
        assert _ask(pair, None, "/v1.41/containers/json", "GET") is None
        assert _ask(pair, {"Image": "x"}) is None
        assert time.monotonic() - began < 10
    harmless()
    message = _ask(pair, bind)
    assert "bindshare-guestd is not running" in message, message
    # A guestd that comes leaves it alone.
    pair.guest.start()
    assert _ask(pair, bind) is None
    harmless()
    world.kill(pair.guest.process.pid, signal.SIGSTOP)
    harmless()
    assert "does not answer" in _ask(pair, bind)
    pair.guest.process.send_signal(signal.SIGCONT)
    assert _ask(pair, bind) is None
    pair.guest.stop()
    harmless()
    assert os.path.exists(path)
    # Without a configuration that can be read, too.
    world.write_file(pair.guest.config_file, "{", 0o644, (0, 0))
    harmless()
    assert "guest.json" in _ask(pair, bind)
    plugin.terminate()
    assert plugin.wait(20) == 0
    assert os.path.exists(path), "the socket is the service manager's"
    listener.close()
    listener, plugin = pair.guest.start_plugin(path + "2")
    pair.guest.config["pluginSocket"] = path + "2"
    harmless()
    pair.guest.write_config()
    pair.guest.start()
    assert _ask(pair, bind) is None, "what was mended is read"
    plugin.terminate()
    assert plugin.wait(20) == 0
    listener.close()
    pair.end()


@case
def what_cannot_be_read_whole_is_refused():
    pair = _pair("share")
    path = pair.host("share")
    right = json.dumps({"HostConfig": {"Binds": [f"{path}:/x"]}}).encode()
    bodies = [None, b"", b"{", right[:-1], right + right, b"[]", b'"x"', b"\xff" + right, b"null",
              b'{"HostConfig":{"Binds":["/etc:/x"]},"HostConfig":{}}',
              b'{"HostConfig":{},"hostconfig":{"Binds":["/etc:/x"]}}',
              '{"HostConfig":{"Bind\u017f":["/etc:/x"]}}'.encode(), '{"HostConfig":{"\u212a":1}}'.encode(),
              b'{"HostConfig":{"Binds":"/etc:/x"}}', b'{"HostConfig":{"Binds":[1]}}', b'{"HostConfig":[]}',
              b'{"HostConfig":{"Binds":["/a\\u0000:/x"]}}', b'{"HostConfig":{"Mounts":[{"Type":"bind"}]}}',
              b'{"HostConfig":{"Mounts":["/etc"]}}', b'{"HostConfig":{"Mounts":{"Type":"bind"}}}',
              b'{"HostConfig":{"Mounts":[{"Type":1,"Source":"/etc"}]}}',
              b'{"HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":[]}}]}}',
              b"[" * 5000]
    for body in bodies:
        message = _ask(pair, body)
        assert message and "cannot tell what this request binds" in message, (body, message)
    for uri in ("/v1.41/containers/%zz/create", "/v1.41/x/../containers/create", "/containers%00/create",
                "http://localhost/v1.41/containers/create", "a:/v1.41/containers/create", "/containers/create#x", ""):
        assert "its address is not written plainly" in _ask(pair, right, uri), uri
    for uri in ("/v1.41/volumes/create", "/services/create", "/services/x/update", "/plugins/pull",
                "/plugins/x/upgrade", "/plugins/vieux/sshfs/set"):
        assert "without its contents" in _ask(pair, None, uri, headers={"Content-Length": "0"}), uri
    # dockerd does not pass on a body that comes in chunks, and takes one here.
    for version in ("v1.23", "v1.1", "v1.024", "v1.x", "v1"):
        message = _ask(pair, None, f"/{version}/containers/abc/start")
        assert message and "use version 1.24 or later" in message, (version, message)
    pair.end()


@case
def the_protocol_itself_is_checked():
    pair = _pair("share")
    status, answer = _post(pair, "/Plugin.Activate", "")
    assert status == 200 and answer == {"Implements": ["authz"]}, answer
    assert _post(pair, "/AuthZPlugin.AuthZRes", "{}") == (200, {"Allow": True})
    for path, body, method, code, words in (
            ("/AuthZPlugin.AuthZReq", "", "POST", 400, "RequestMethod"),
            ("/AuthZPlugin.AuthZReq", "{", "POST", 400, "no JSON"),
            ("/AuthZPlugin.AuthZReq", "[]", "POST", 400, "no JSON"),
            ("/AuthZPlugin.AuthZReq", '{"RequestMethod":"POST"}', "POST", 400, "RequestUri"),
            ("/AuthZPlugin.AuthZReq", '{"RequestMethod":"POST","RequestUri":"/x","RequestBody":"*"}', "POST", 400,
             "base64"),
            ("/AuthZPlugin.AuthZReq", '{"RequestMethod":"POST","RequestUri":"/x","RequestBody":1}', "POST", 400,
             "base64"),
            ("/AuthZPlugin.AuthZReq", "x" * (4 * 1024 * 1024 + 1), "POST", 413, "4 MiB"),
            ("/AuthZPlugin.AuthZReq", None, "GET", 405, "POST"), ("/nonsense", "{}", "POST", 404, "/Plugin.Activate")):
        status, answer = _post(pair, path, body, method)
        assert status == code and words in answer["Err"], (path, body and body[:60], status, answer)
    # A client that stops in the middle keeps nobody else waiting.
    half = socket.socket(socket.AF_UNIX)
    half.connect(pair.guest.config["pluginSocket"])
    half.sendall(b"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert _ask(pair, {"Image": "x"}) is None
    half.close()
    assert oct(os.stat(pair.guest.config["pluginSocket"]).st_mode & 0o777) == "0o600"
    pair.end()


@case
def a_share_is_waited_for_and_others_go_on_meanwhile():
    pair = _pair("share")
    pair.server.stop_hard()
    wait_for(lambda: pair.guest.ask("status")["server"]["state"] == "connecting", "the loss is seen")
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(_ask(pair, {"HostConfig": {"Binds": [f"{pair.host('share')}:/x"]}})))
    thread.start()
    for _ in range(20):
        assert _ask(pair, {"Image": "x"}) is None
    pair.server.start()
    thread.join(30)
    assert answers == [None], answers
    pair.end()


run(160)
