#!/usr/bin/env python3
"""Records RocketMQ remoting frames from the loopback interface, a few samples of every kind.

    record.py --ports 9876,10911 --names FILE --out DIR      until SIGTERM or SIGINT

It reads packets rather than standing between the parties, because a route answer names the broker's own port and a proxy
would have to rewrite what it records. So it wants root, and a network namespace of its own for quiet (see 'capture').
FILE has one 'code NAME' a line. Kinds are told apart by who speaks (request and response of a connecting party; push and
reply when the listening one asks), request code, header encoding; within a kind, samples of different shape are preferred.
"""
import argparse
import collections
import json
import pathlib
import signal
import socket
import struct
import sys

MAX_BODY = 4096
MAX_FRAME = 16 * 1024 * 1024
SAMPLES = 5
ENCODINGS = {0: "json", 1: "binary"}


class Stream:
    """One direction of one connection: segments in, whole frames out. A lost packet ends it."""

    def __init__(self, sequence):
        self.next = sequence
        self.early = {}
        self.data = bytearray()
        self.lost = False

    def feed(self, sequence, payload):
        if self.lost:
            return
        self.early[sequence] = payload
        while True:
            payload = self.early.pop(self.next, None)
            if payload is None:
                break
            self.data += payload
            self.next = (self.next + len(payload)) & 0xFFFFFFFF
        if len(self.early) > 1000:
            self.lost = True
            print("record: a packet was lost, the rest of its stream is left out", file=sys.stderr)

    def frames(self):
        while len(self.data) >= 4:
            (length,) = struct.unpack_from(">I", self.data)
            if not 4 <= length <= MAX_FRAME:
                self.lost = True
                return
            if len(self.data) < 4 + length:
                return
            frame = bytes(self.data[: 4 + length])
            del self.data[: 4 + length]
            yield frame


def header(frame):
    """(encoding, code, opaque, flag, field names, body length), or None for what is no remoting frame."""
    (word,) = struct.unpack_from(">I", frame, 4)
    encoding, length = word >> 24, word & 0xFFFFFF
    raw, body = frame[8 : 8 + length], len(frame) - 8 - length
    if body < 0 or encoding not in ENCODINGS:
        return None
    if encoding == 0:
        fields = json.loads(raw)
        names = frozenset(fields.get("extFields") or ())
        return encoding, fields["code"], fields["opaque"], fields["flag"], names | {"#remark"} if fields.get("remark") else names, body
    code, _, _, opaque, flag, remark = struct.unpack_from(">hBhiii", raw)
    at = 17 + max(remark, 0)
    (size,) = struct.unpack_from(">i", raw, at)
    at, end, names = at + 4, at + 4 + max(size, 0), {"#remark"} if remark > 0 else set()
    while at < end:
        (key,) = struct.unpack_from(">h", raw, at)
        names.add(raw[at + 2 : at + 2 + key].decode())
        (value,) = struct.unpack_from(">i", raw, at + 2 + key)
        at += 6 + key + value
    return encoding, code, opaque, flag, frozenset(names), body


class Recorder:
    def __init__(self, ports, names, out):
        self.ports, self.names, self.out = ports, names, out
        self.streams = {}
        self.asked = {}  # (asker, asked, opaque) -> request code
        self.kinds = collections.defaultdict(dict)  # kind -> shape -> frame
        self.seen = collections.Counter()

    def packet(self, data):
        if len(data) < 20 or data[0] >> 4 != 4 or data[9] != 6:
            return
        total = struct.unpack_from(">H", data, 2)[0] or len(data)
        at = (data[0] & 15) * 4
        source, target, sequence = struct.unpack_from(">HHI", data, at)
        if source not in self.ports and target not in self.ports:
            return
        payload = data[at + (data[at + 12] >> 4) * 4 : total]
        key = (data[12:16], source, data[16:20], target)
        if data[at + 13] & 2:  # SYN
            self.streams[key] = Stream((sequence + 1) & 0xFFFFFFFF)
        elif payload and key in self.streams:
            stream = self.streams[key]
            stream.feed(sequence, payload)
            for frame in stream.frames():
                self.frame(key, frame)

    def frame(self, key, frame):
        parsed = header(frame)
        if parsed is None:
            return
        encoding, code, opaque, flag, names, body = parsed
        here, there = key[:2], key[2:]
        listening = key[1] in self.ports
        if flag & 1:
            request = self.asked.pop((there, here, opaque), None)
            if request is None:
                return
            direction = "response" if listening else "reply"
        else:
            request = code
            if not flag & 2:
                self.asked[here, there, opaque] = code
            direction = "push" if listening else "request"
        kind = (direction, request, encoding)
        self.seen[kind] += 1
        shapes = self.kinds[kind]
        shape = (code, flag, names, body > 0)
        if body <= MAX_BODY and shape not in shapes:
            shapes[shape] = frame

    def save(self):
        self.out.mkdir(parents=True, exist_ok=True)
        for (direction, code, encoding), shapes in sorted(self.kinds.items()):
            name = self.names.get(code, "unknown")
            # Different response codes first, then more fields first.
            order = sorted(shapes, key=lambda s: (-len(s[2]), s[0], s[1], s[3], sorted(s[2])))
            picked, codes = [], set()
            for shape in order:
                if shape[0] not in codes:
                    codes.add(shape[0])
                    picked.append(shape)
            picked += [shape for shape in order if shape not in picked]
            have = len(list(self.out.glob(f"{direction}-{code}-*-{ENCODINGS[encoding]}-*.bin")))
            for number, shape in enumerate(picked[: SAMPLES - have], have + 1):
                path = self.out / f"{direction}-{code}-{name}-{ENCODINGS[encoding]}-{number}.bin"
                path.write_bytes(shapes[shape])
        for (direction, code, encoding), count in sorted(self.seen.items(), key=lambda i: (i[0][1], i[0])):
            print(f"{count:8} {direction:8} {code:6} {self.names.get(code, 'unknown')} {ENCODINGS[encoding]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--ports", required=True)
    arguments.add_argument("--names", required=True, type=pathlib.Path)
    arguments.add_argument("--out", required=True, type=pathlib.Path)
    options = arguments.parse_args()
    names = {}
    for line in options.names.read_text().splitlines():
        code, name = line.split()
        names[int(code)] = name.lower()
    recorder = Recorder({int(port) for port in options.ports.split(",")}, names, options.out)
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x0800))
    packets.setsockopt(socket.SOL_SOCKET, 33, 512 * 1024 * 1024)  # SO_RCVBUFFORCE
    packets.bind(("lo", 0x0800))
    packets.settimeout(0.2)
    going = True

    def stop(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("recording", flush=True)
    while going:
        try:
            data, address = packets.recvfrom(1 << 17)
        except TimeoutError:
            continue
        if address[2] != socket.PACKET_OUTGOING:  # loopback shows every packet twice
            recorder.packet(data)
    recorder.save()


if __name__ == "__main__":
    main()
