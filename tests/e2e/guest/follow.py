#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a guest is told about the list of shares, at the start and at each change, and what ends its connection."""
import errno
import hashlib
import os
import secrets
import socket
import struct
import subprocess

from lib import Server, case, run, wait_for, world
from lib.control import Subscriber
from lib.server import TOKEN

MAGIC = 0x52485342
PROOF, REFUSE, PING, FOLLOW, CHANGED, SHARE, RESOLVE, BIND_REFUSED = 3, 4, 6, 8, 9, 10, 11, 12
REPLY = 1
SERVED, MISSING = 1, 2
READ_ONLY = 1


class Refused(Exception):
    pass


class Follower:
    """A guest's connection, as far as the first CHANGED."""

    def __init__(self, server, token=TOKEN, versions=(1, 1)):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(server.address[len("unix:"):])
        self.pushed = []
        key = bytes.fromhex(token)
        nonce = secrets.token_bytes(32)
        opening = struct.pack("<III", MAGIC, *versions) + nonce
        self.send(FOLLOW, opening)
        _, _, challenge = self.receive()
        theirs, proof = challenge[4:36], challenge[36:]

        def prove(side):
            said = b"bindshare %s 1" % side + nonce + theirs + opening
            return hashlib.blake2b(said, digest_size=32, key=key).digest()

        assert token != TOKEN or proof == prove(b"server"), "the server's proof"
        self.send(PROOF, prove(b"client"))
        self.generation, self.count = self.changed()

    def send(self, op, payload, number=7, flags=0):
        self.socket.sendall(struct.pack("<IHHQiI", len(payload), op, flags, number, 0, 0) + payload)

    def receive(self):
        header = self.socket.recv(24, socket.MSG_WAITALL)
        if len(header) < 24:
            raise EOFError
        length, op, _, _, status, _ = struct.unpack("<IHHQiI", header)
        payload = self.socket.recv(length, socket.MSG_WAITALL) if length else b""
        if op == REFUSE:
            raise Refused(struct.unpack("<I", payload[:4])[0], payload[6:].decode())
        return op, status, payload

    def changed(self):
        """The next CHANGED: generation and count."""
        if self.pushed:
            return self.pushed.pop(0)
        op, _, payload = self.receive()
        assert op == CHANGED, op
        return struct.unpack("<QI", payload)

    def ask(self, op, payload):
        """Status and payload of the reply; what is pushed meanwhile is kept."""
        self.send(op, payload)
        while True:
            got, status, answer = self.receive()
            if got != CHANGED:
                assert got == op, got
                return status, answer
            self.pushed.append(struct.unpack("<QI", answer))

    def share(self, index, generation=None):
        status, answer = self.ask(SHARE, struct.pack("<QI", generation or self.generation, index))
        if status:
            return status
        state, flags = struct.unpack("<II", answer[8192:])
        return _text(answer[:4096]), _text(answer[4096:8192]), state, flags

    def resolve(self, path):
        status, answer = self.ask(RESOLVE, os.fsencode(path).ljust(4096, b"\0"))
        return status or _text(answer)

    def list(self):
        """The list as it is now."""
        while True:
            shares = [self.share(index) for index in range(self.count)]
            if errno.EAGAIN not in shares:
                return shares
            self.generation, self.count = self.changed()

    def until(self, wanted):
        """Follows the changes until wanted(list)."""
        shares = self.list()
        while not wanted(shares):
            self.generation, self.count = self.changed()
            shares = self.list()
        return shares

    def ended(self):
        """True: the server closed the connection."""
        try:
            while self.receive():
                pass
        except (EOFError, ConnectionResetError):
            return True


def _text(padded):
    return os.fsdecode(padded.rstrip(b"\0"))


def _directories(*names):
    base = world.case_directory("host")
    for name in names:
        os.makedirs(os.path.join(base, name))
    return [base] + [os.path.join(base, name) for name in names]


@case
def refusals_of_a_guest_are_events():
    share, = _directories()[:1]
    server = Server([share], token=TOKEN)
    events = Subscriber(server.control)
    guest = Follower(server)

    def tell(path, reason):
        guest.send(BIND_REFUSED, path.ljust(4096, b"\0") + struct.pack("<I", reason))
    for reason, name in enumerate(("not-shared", "leads-out", "missing", "socket", "special"), 1):
        tell(b"/home/me/p\xff" if reason == 2 else b"/home/me/p", reason)
        event = events.wait("bind-refused", reason=name)
        assert event["path"] == ("/home/me/p?" if reason == 2 else "/home/me/p"), event
    # A flood is cut, and the server goes on.
    for _ in range(5000):
        tell(b"/flood", 1)
    tell(b"/" + b"x" * 1100, 1)
    assert guest.list() == [(share, share, SERVED, 0)]
    server.ctl("share", "add", _directories("more")[1])
    events.wait("share-added")
    told = [event for event in events.events if event["event"] == "bind-refused" and event["path"] == "/flood"]
    assert len(told) <= 100 and not [event for event in events.events if "xxx" in str(event.get("path"))], len(told)
    for bad in (b"relative".ljust(4096, b"\0") + struct.pack("<I", 1), b"/x".ljust(4096, b"\0") + struct.pack("<I", 0),
                b"/x".ljust(4096, b"\0") + struct.pack("<I", 6), b"/x"):
        other = Follower(server)
        other.send(BIND_REFUSED, bad)
        assert other.ended(), bad[:20]


@case
def a_guest_is_told_the_list_and_each_change():
    _, first, second = _directories("first", "second")
    server = Server([first, second + ":ro"], token=TOKEN)
    guest = Follower(server)
    assert guest.list() == [(first, first, SERVED, 0), (second, second, SERVED, READ_ONLY)], guest.list()
    third = _directories("third")[1]
    server.ctl("share", "add", third)
    guest.until(lambda shares: (third, third, SERVED, 0) in shares)
    server.ctl("share", "rm", third)
    guest.until(lambda shares: third not in [share[0] for share in shares])
    os.rename(first, first + ".away")
    guest.until(lambda shares: shares[0][2] == MISSING)
    os.rename(first + ".away", first)
    guest.until(lambda shares: shares[0] == (first, first, SERVED, 0))
    server.stop()
    assert guest.ended()


@case
def an_older_list_is_asked_for_in_vain():
    _, first = _directories("first")
    server = Server([first], token=TOKEN)
    guest = Follower(server)
    assert guest.share(1) == errno.ERANGE
    assert guest.share(0, guest.generation + 1) == errno.EAGAIN
    server.stop()


@case
def every_guest_is_told():
    _, first = _directories("first")
    server = Server([first], token=TOKEN)
    guests = [Follower(server) for _ in range(16)]
    try:
        Follower(server)
        raise AssertionError("a 17th guest is let in")
    except Refused as refusal:
        assert "16 guests" in refusal.args[1], refusal
    second = _directories("second")[1]
    server.ctl("share", "add", second)
    for guest in guests:
        guest.until(lambda shares: len(shares) == 2)
    guests.pop().socket.close()

    def comes_in():
        try:
            return len(Follower(server).list()) == 2
        except Refused:
            return False
    wait_for(comes_in, "there is room for another when one has gone")
    server.stop()


@case
def a_path_resolves_only_into_what_is_shared():
    base, share, _ = _directories("share", "secret")
    os.makedirs(os.path.join(share, "a/b"))
    for name, target in (("in", "share/a"), ("out", "secret"), ("loop", "loop"), ("dangling", "share/none")):
        os.symlink(target, os.path.join(base, name))
    world.write_file(os.path.join(share, "a/file"), "content")
    os.symlink(os.path.join(base, "secret"), os.path.join(share, "a/escape"))
    server = Server([share], token=TOKEN)
    guest = Follower(server)
    assert guest.resolve(f"{base}/in") == f"{share}/a"
    assert guest.resolve(f"{base}/in/b") == f"{share}/a/b"
    assert guest.resolve(f"{base}/in/file") == f"{share}/a/file"
    assert guest.resolve(share) == share
    for path in ("out", "loop", "dangling", "none", "secret", "in/escape", "in/none", ""):
        assert guest.resolve(f"{base}/{path}".rstrip("/")) == errno.EACCES, path
    assert guest.resolve("/etc/passwd") == errno.EACCES
    # Where a process of the user's is, or what it has open, is no path.
    with subprocess.Popen(["sleep", "60"], cwd=share, user=world.UID, group=world.GID,
                          stdin=os.open(f"{share}/a/file", os.O_RDONLY)) as process:
        try:
            for way in ("cwd", "fd/0", "cwd/a", "task/" + str(process.pid) + "/cwd"):
                assert guest.resolve(f"/proc/{process.pid}/{way}") == errno.EACCES, way
        finally:
            process.kill()
    assert guest.resolve(share + "/x" * 200) == errno.EACCES
    server.stop()


@case
def who_has_no_token_or_no_version_learns_nothing():
    _, share = _directories("share")
    server = Server([share], token=TOKEN)
    for arguments, code, words in (({"token": "ab" * 32}, 2, "token"),
                                   ({"versions": (2, 3)}, 1, "Upgrade bindshare-fileserver"),
                                   ({"versions": (3, 2)}, 8, "no sense")):
        try:
            Follower(server, **arguments)
            raise AssertionError(f"{arguments} is let in")
        except Refused as refusal:
            assert refusal.args[0] == code and words in refusal.args[1], refusal
    server.stop()


@case
def a_guest_that_makes_no_sense_is_dropped():
    _, share = _directories("share")
    server = Server([share], token=TOKEN)
    lookup = 32
    for op, payload, flags in ((SHARE, b"x", 0), (lookup, b"", 0), (PING, b"12345678", REPLY),
                               (RESOLVE, bytes(4096), 1), (SHARE, bytes(5000), 0), (CHANGED, bytes(12), 0)):
        guest = Follower(server)
        guest.send(op, payload, flags=flags)
        assert guest.ended(), (op, payload[:8])
    guest = Follower(server)
    for path in (b"relative", b"/a/../b", b""):
        assert guest.ask(RESOLVE, path.ljust(4096, b"\0"))[0] == errno.EINVAL, path
    assert guest.ask(PING, struct.pack("<Q", 99)) == (0, struct.pack("<Q", 99))
    server.stop()


@case
def a_guest_that_reads_nothing_is_dropped():
    _, share = _directories("share")
    server = Server([share], token=TOKEN)
    guest = Follower(server)
    guest.socket.settimeout(5)
    asked = struct.pack("<IHHQiI", 12, SHARE, 0, 7, 0, 0) + struct.pack("<QI", guest.generation, 0)
    try:
        for _ in range(20000):
            guest.socket.sendall(asked)
    except OSError:
        pass
    wait_for(lambda: "does not read" in server.log_text(), "it is dropped")
    assert len(Follower(server).list()) == 1
    server.stop()


run(100)
