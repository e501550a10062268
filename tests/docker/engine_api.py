#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests to a real dockerd, written as no client writes them: none is a way around the authorization plugin."""
import contextlib
import json
import os
import socket

from lib import case, run
from lib.docker import docker_pair

# The last in which a start could bind; dockerd 26 knows it no more, but asks the plugin before it says so.
OLD = "/v1.23/containers/app/start"


def _send(pair, target, body=None, kind="application/json", chunked=False):
    """One POST, byte for byte: its status, and what dockerd says."""
    head = f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        head += f"Content-Type: {kind}\r\n"
    if chunked:
        head += "Transfer-Encoding: chunked\r\n"
        content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    else:
        head += f"Content-Length: {len(content)}\r\n"
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(pair.engine.socket)
        # dockerd answers what it refuses before it has read all of it, and closes.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head.encode() + b"\r\n" + content)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    return int(answer.split()[1]), answer.decode(errors="replace")


@case
def no_way_of_writing_a_request_goes_around_the_plugin():
    pair = docker_pair("proj")
    other = pair.make("other")
    bad = {"Image": "box", "Cmd": ["true"], "HostConfig": {"Binds": [f"{other}:/x"]}}
    host_config = {"Binds": [f"{other}:/x"]}
    settings = [f"data.source={other}"]
    api = pair.engine.run("version", "--format", "{{.Server.APIVersion}}").strip()
    least = pair.engine.run("version", "--format", "{{.Server.MinAPIVersion}}").strip()
    old_is_known = tuple(map(int, least.split("."))) <= (1, 23)
    create, start = f"/v{api}/containers/create", f"/v{api}/containers/app/start"
    pair.engine.run("create", "--name", "app", "box", "true")
    passed = []
    for target, body, more in (
            (create, bad, {}), (f"http://docker{create}", bad, {}), (f"a:{create}", bad, {}),
            (f"http:{create}", bad, {}), (f"{create}?name=x/auth", bad, {}), ("/%63ontainers/create", bad, {}),
            (create, bad, {"chunked": True}), (create, bad, {"kind": "text/plain"}),
            (create, bad, {"kind": "application/json;charset=utf-8"}), (create, {**bad, "x": "x" * 2**20}, {}),
            (OLD, host_config, {}), (OLD, host_config, {"chunked": True}), (f"http://docker{OLD}", host_config, {}),
            (OLD, host_config, {"kind": "application/json; charset=utf-8"}),
            (f"/v{api}/plugins/x/set", settings, {}), (f"/v{api}/plugins/vieux/sshfs/set", settings, {}),
            (f"/v{api}/plugins/x/set", settings, {"chunked": True}),
            (f"/v{api}/plugins/x/set", settings, {"kind": "text/plain"}),
            (f"/v{api}/plugins/x/set", [f"data={other}"], {})):
        status, text = _send(pair, target, body, **more)
        refused = "Mounts denied" in text or "cannot tell what this request binds" in text
        if status != 403 or not refused:
            passed.append((target, more, status, text))
    assert not passed, passed
    assert pair.engine.run("ps", "-a", "--format", "{{.Names}} {{.Mounts}}").split() == ["app"]
    assert not os.path.exists(pair.guest.path(other)), "no empty directory is made"
    # What binds nothing, or a share, is not in the way of anybody.
    for target, body, status in ((OLD, None, 204 if old_is_known else 400), (start, None, 304), (start, {}, 304),
                                 (create, {**bad, "HostConfig": {"Binds": [f"{pair.host('proj')}:/x"]}}, 201)):
        got, text = _send(pair, target, body)
        assert got == status or (status == 304 and got == 204), (target, body, got, text)
    for name in pair.engine.run("ps", "-aq").split():
        pair.engine.run("rm", "-f", name)
    pair.engine.stop()
    pair.end()


run(120)
