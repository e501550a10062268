# SPDX-License-Identifier: Apache-2.0
"""bindshare-guestd: its configuration, its start, and requests to its socket."""
import json
import os
import socket
import subprocess


def configuration(directory, address, **config):
    """guest.json of a guest that has all its files in a directory; config: more keys, or others' values."""
    return {"address": address, "root": os.path.join(directory, "host_mnt"),
            "runDirectory": os.path.join(directory, "run"), "pluginSocket": None, **config}


def start(command, log, **more):
    """Starts it with this command line; what it says is appended to the file log. Popen."""
    with open(log, "ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)


def ask_line(run, line):
    """The answer to a line, by the guestd whose run directory this is. OSError when there is none."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    with client:
        client.connect(os.path.join(run, "guestd.sock"))
        client.sendall(line)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.endswith(b"\n"), answer
    return json.loads(answer)


def ask(run, request, **members):
    """The answer to a request."""
    return ask_line(run, json.dumps({"version": 1, "request": request, **members}).encode() + b"\n")
