#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The server's own listener on AF_VSOCK, as on a host whose kernel brings the guests' connections: server and client in
one guest, over the kernel's vsock_loopback. Such a listener knows who connects, and lets in whom it was told to trust.
"""
import host
from lib import case, wait_for, world
from lib.server import TOKEN

GUEST = host.the_guest(modules=("vsock_loopback",))
LOCAL_CID = 1
NOT_TRUSTED = "The peer is not trusted: its CID is not one that the server was told with --trust-cid"

# Connects as a client that is bound to a port of its own choice, or to none, and prints the words of the refusal. Where
# something else comes, prints that.
_KNOCK = """
import os, socket, struct, sys
port, source, user = (int(word) for word in sys.argv[1:])
client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
if user:
    os.setgroups([]); os.setgid(user); os.setuid(user)
if source:
    client.bind((socket.VMADDR_CID_ANY, source))
client.settimeout(20)
client.connect((1, port))
# A HELLO that nobody would take, so that who is trusted gets another answer.
client.sendall(bytes(64))
answer = b""
while chunk := client.recv(4096):
    answer += chunk
    if len(answer) > 40:
        break
print(answer.decode("latin-1"))
"""


class _Server:
    """bindshare-fileserver in the guest, as an ordinary user."""
    port = 7200

    def __init__(self, cid):
        machine = GUEST().machine
        _Server.port += 1
        self.port = _Server.port
        self.address = f"vsock:{LOCAL_CID}:{self.port}:/var/tmp/share{self.port}"
        self.share = f"/var/tmp/share{self.port}"
        place = f"/var/tmp/run{self.port}"
        machine.must(f"mkdir -m 755 {self.share} && mkdir -m 700 {place} && mkdir -p /mnt/{self.port}")
        machine.put(f"{place}/token", TOKEN + "\n", 0o600)
        machine.put("/root/token", TOKEN + "\n", 0o600)
        machine.must(f"chown -R 65534:65534 {place} {self.share}")
        self.running = machine.start(
            f"exec setpriv --reuid=65534 --regid=65534 --clear-groups {host.installed('bindshare-fileserver')} "
            f"--listen vsock:{self.port} --trust-cid {cid} --token-file {place}/token --control {place}/control "
            f"--share {self.share}")
        wait_for(lambda: "listening at" in self.running.output or self.running.code is not None,
                      "the server listens", 30)
        assert self.running.code is None, self.running.output
        world.at_end(self.stop)

    def mount(self):
        return GUEST().machine.run(f"{host.installed('bindshare-mount')} {self.address} /mnt/{self.port} "
                                   "-o token-file=/root/token")

    def knock(self, source, user=0):
        return GUEST().machine.must(["/usr/bin/python3", "-c", _KNOCK, str(self.port), str(source), str(user)])

    def stop(self):
        GUEST().machine.run(f"umount -l /mnt/{self.port}")
        self.running.signal(15)


@case
def a_trusted_guest_mounts():
    server = _Server(LOCAL_CID)
    code, output = server.mount()
    assert code == 0, output
    GUEST().machine.must(f"echo text > /mnt/{server.port}/file")
    assert GUEST().machine.must(f"cat {server.share}/file; stat -c %u {server.share}/file") == "text\n65534\n"


@case
def a_foreign_cid_is_refused():
    server = _Server(LOCAL_CID + 4)
    code, output = server.mount()
    assert code != 0 and NOT_TRUSTED in output, (code, output)
    assert NOT_TRUSTED in server.knock(600)


@case
def a_source_port_from_1024_on_is_refused():
    server = _Server(LOCAL_CID)
    for source in (1024, 1025, 70000):
        assert NOT_TRUSTED in server.knock(source), source
    for source in (1023, 512):
        answer = server.knock(source)
        assert NOT_TRUSTED not in answer and "makes no sense" in answer, (source, answer)


@case
def an_unprivileged_process_is_refused():
    server = _Server(LOCAL_CID)
    assert NOT_TRUSTED in server.knock(0, user=65534)
    code, output = GUEST().machine.run(["/usr/bin/python3", "-c", _KNOCK, str(server.port), "1023", "65534"])
    assert code != 0 and "Permission denied" in output, output
    code, output = server.mount()
    assert code == 0, output


host.run(300)
