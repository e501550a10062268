# SPDX-License-Identifier: Apache-2.0
"""
In the guest: does what the other side says over the console hvc0, a JSON object a line.

{"id":I,"argv":[..],"env":{..}} runs a program; {"id":I,"out":text} comes back as it writes, {"id":I,"code":N} at its
end. {"id":I,"signal":N} sends a signal to it and what it has started. {"id":I,"put":path,"data":base64,"mode":N} writes
a file.
"""
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import tty

_lock = threading.Lock()
_running = {}


def _say(console, **members):
    line = json.dumps(members).encode() + b"\n"
    with _lock:
        while line:
            line = line[os.write(console, line):]


def _run(console, number, process):
    while chunk := os.read(process.stdout.fileno(), 16384):
        _say(console, id=number, out=chunk.decode("latin-1"))
    code = process.wait()
    _running.pop(number, None)
    _say(console, id=number, code=code)


def _start(console, request):
    number = request["id"]
    try:
        process = subprocess.Popen(request["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env={**os.environ, **request.get("env", {})}, cwd="/",
                                   start_new_session=True)
    except OSError as error:
        _say(console, id=number, out=f"{request['argv'][0]}: {error.strerror}\n")
        _say(console, id=number, code=127)
        return
    _running[number] = process
    threading.Thread(target=_run, args=(console, number, process), daemon=True).start()


def _put(console, request):
    os.makedirs(os.path.dirname(request["put"]), exist_ok=True)
    with open(request["put"], "wb") as file:
        os.fchmod(file.fileno(), request["mode"])
        file.write(base64.b64decode(request["data"]))
    _say(console, id=request["id"], code=0)


def main():
    os.environ.update({"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8",
                       "PYTHONDONTWRITEBYTECODE": "1"})
    console = os.open("/dev/hvc0", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    tty.setraw(console)
    _say(console, ready=os.uname().release)
    with os.fdopen(os.dup(console), "rb") as lines:
        for line in lines:
            request = json.loads(line)
            if "put" in request:
                _put(console, request)
            elif "signal" in request:
                process = _running.get(request["id"])
                if process is not None:
                    os.killpg(process.pid, request["signal"])
            else:
                _start(console, request)


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(main())
