# SPDX-License-Identifier: Apache-2.0
"""One virtual machine: starts it, runs programs in it, ends it. Nothing that it does can hang the caller."""
import base64
import json
import os
import queue
import socket
import subprocess
import threading
import time

from . import parts


BOOTS = 3


class Failed(Exception):
    """The machine, or a program in it, did not do what it should; the text tells, with the output."""


class Running:
    """A program in the guest. output: what it has written so far; code: its exit code, None while it runs."""

    def __init__(self, machine, number, what, on_output):
        self.machine, self.number, self.what = machine, number, what
        self.output = ""
        self.code = None
        self.on_output = on_output
        self.ended = threading.Event()

    def take(self, message):
        if "out" in message:
            text = message["out"].encode("latin-1").decode("utf-8", "replace")
            self.output += text
            if self.on_output:
                self.on_output(text)
        if "code" in message:
            self.code = message["code"]
            self.ended.set()

    def wait(self, timeout):
        """Its exit code. Failed when it has not ended in time, or the machine has."""
        if not self.ended.wait(timeout):
            raise Failed(f"{self.what}: not finished within {timeout} s\n{self.output[-8000:]}")
        if self.code is None:
            raise Failed(f"{self.what}: the machine ended\n{self.output[-8000:]}")
        return self.code

    def signal(self, number):
        self.machine.send(id=self.number, signal=number)


class Machine:
    """
    A guest with kernel and image (a file). vsock: a VsockDevice or None; shares: Virtiofs; plan9: {tag: directory};
    disk: a file, /dev/vda there. The devices are started with it. directory: for its sockets and its log console.log.
    Ready when made; Failed when it does not start.
    """

    def __init__(self, directory, kernel, image, *, vsock=None, shares=(), plan9=None, disk=None, cpus=2,
                 memory=1536, start_seconds=120):
        self.log = os.path.join(directory, "console.log")
        self.console = os.path.join(directory, "hvc0")
        self._running = {}
        self._number = 0
        self._lock = threading.Lock()
        self._ready = queue.Queue()
        command = [parts.QEMU, "-machine", "q35,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", "max",
                   "-smp", str(cpus), "-m", str(memory),
                   "-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on",
                   "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{self.log}",
                   "-kernel", kernel.image, "-initrd", image, "-append",
                   "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on",
                   "-device", "virtio-serial-pci", "-chardev", f"socket,id=hvc,path={self.console},server=on,wait=off",
                   "-device", "virtconsole,chardev=hvc", "-device", "virtio-rng-pci"]
        if vsock is not None:
            command += ["-chardev", f"socket,id=vs,path={vsock.socket}",
                        "-device", "vhost-user-vsock-pci,chardev=vs"]
        for number, share in enumerate(shares):
            command += ["-chardev", f"socket,id=fs{number},path={share.socket}",
                        "-device", f"vhost-user-fs-pci,chardev=fs{number},tag={share.tag},queue-size=1024"]
        if disk is not None:
            command += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
        for tag, folder in (plan9 or {}).items():
            command += ["-virtfs", f"local,path={folder},mount_tag={tag},security_model=passthrough,id={tag}"]
        devices = [device for device in (vsock, *shares) if device is not None]
        for attempt in range(BOOTS):
            for device in devices:
                device.start()
            try:
                self._boot(command, start_seconds)
                return
            except BaseException as error:
                self.stop()
                for device in devices:
                    device.stop()
                if attempt == BOOTS - 1 or not self._died_booting(error):
                    raise
                print("# the guest's kernel died while it booted; once more", flush=True)

    def _boot(self, command, seconds):
        with open(os.path.join(os.path.dirname(self.log), "qemu.log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._connect(seconds)

    def _died_booting(self, error):
        """
        QEMU 7.2 emulates several CPUs in threads, and a CPU may run what the kernel on another one is just patching. An
        init that ends is something else.
        """
        tail = self.tail()
        return isinstance(error, Failed) and "Kernel panic" in tail and "kill init" not in tail

    def _connect(self, seconds):
        deadline = time.monotonic() + seconds
        self._socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self._socket.connect(self.console)
                break
            except OSError:
                self._check(deadline)
                time.sleep(0.05)
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            try:
                self.release = self._ready.get(timeout=0.2)
                return
            except queue.Empty:
                self._check(deadline)

    def _check(self, deadline):
        if self.process.poll() is not None:
            raise Failed(f"QEMU ended with {self.process.returncode}: {self.tail()}")
        if time.monotonic() > deadline:
            raise Failed(f"the guest does not start: {self.tail()}")

    def tail(self):
        """The last lines of QEMU and of the guest's kernel."""
        text = ""
        for path in (os.path.join(os.path.dirname(self.log), "qemu.log"), self.log):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += "".join(file.readlines()[-25:])
        return text

    def _read(self):
        buffer = b""
        while True:
            try:
                chunk = self._socket.recv(65536)
            except OSError:
                chunk = b""
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue  # what the console says before the guest has taken it over
                if "ready" in message:
                    self._ready.put(message["ready"])
                elif message.get("id") in self._running:
                    running = self._running[message["id"]]
                    running.take(message)
        for running in list(self._running.values()):
            running.ended.set()

    def send(self, **message):
        with self._lock:
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _begin(self, what, on_output=None, **message):
        self._number += 1
        running = Running(self, self._number, what, on_output)
        self._running[running.number] = running
        self.send(id=running.number, **message)
        return running

    def start(self, command, env=None, on_output=None):
        """Starts a program, or text for the shell; Running."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        return self._begin(" ".join(argv)[:200], on_output, argv=argv, env=env or {})

    def run(self, command, timeout=60, env=None):
        """Runs it to its end; (exit code, output)."""
        running = self.start(command, env)
        try:
            code = running.wait(timeout)
        except Failed:
            running.signal(9)
            raise
        return code, running.output

    def must(self, command, timeout=60, env=None):
        """The same, and it must exit with 0: its output."""
        code, output = self.run(command, timeout, env)
        if code != 0:
            raise Failed(f"{command}: exit code {code}\n{output[-8000:]}")
        return output

    def put(self, path, content, mode=0o644):
        """Writes a file in the guest."""
        data = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        self._begin(f"writing {path}", put=path, data=data, mode=mode).wait(30)

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Pulls the plug."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if hasattr(self, "_socket"):
            self._socket.close()
