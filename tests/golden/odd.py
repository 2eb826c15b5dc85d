#!/usr/bin/env python3
"""Sends requests that no official client sends, so that Apache's answers to them can be recorded: odd.py PORT."""
import json
import socket
import struct
import sys


def as_json(code, opaque, fields, **more):
    head = {"code": code, "flag": 0, "language": "OTHER", "opaque": opaque, "version": 317, "extFields": fields, **more}
    return 0, json.dumps(head, separators=(",", ":")).encode()


def as_binary(code, opaque, fields):
    pairs = b"".join(struct.pack(">h", len(k)) + k.encode() + struct.pack(">i", len(v)) + v.encode() for k, v in fields.items())
    return 1, struct.pack(">hBhiii", code, 7, 317, opaque, 0, 0) + struct.pack(">i", len(pairs)) + pairs


SEND = {
    "producerGroup": "golden-odd", "topic": "golden-topic", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0",
    "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0", "properties": "KEYS\x01odd\x02WAIT\x01true\x02",
    "reconsumeTimes": "0", "unitMode": "false", "maxReconsumeTimes": "0",
}  # fmt: skip
CPP_SEND = {
    "a": "golden-odd", "b": "golden-topic", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": "1700000000000", "h": 0, "i": "", "j": "0",
    "k": "false", "l": 0, "m": "false",
}  # fmt: skip
PULL = {
    "consumerGroup": "golden-odd", "topic": "golden-topic", "queueId": "0", "queueOffset": "0", "maxMsgNums": "4", "sysFlag": "4",
    "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "TagA ||", "subVersion": "0", "expressionType": "TAG",
}  # fmt: skip
REQUESTS = [
    as_json(9999, 1, {}),
    as_binary(9999, 2, {}),
    as_json(10, 3, SEND),
    as_binary(10, 4, SEND),
    as_json(310, 5, CPP_SEND),
    as_json(10, 6, {k: v for k, v in SEND.items() if k != "topic"}),
    as_json(10, 7, {**SEND, "queueId": "many"}),
    as_json(10, 8, {**SEND, "topic": "golden topic"}),
    as_json(10, 9, {**SEND, "queueId": "77"}),
    as_json(11, 10, {**PULL, "queueId": "77"}),
    as_json(11, 11, {**PULL, "topic": "golden-absent"}),
    as_json(11, 12, {**PULL, "subscription": "", "sysFlag": "0"}),
    as_json(38, 13, {"consumerGroup": "golden-absent"}),
    as_json(33, 14, {"offset": "7"}),
    as_json(36, 15, {"offset": "999999999", "group": "golden-group", "delayLevel": "0", "originMsgId": "x", "originTopic": "golden-topic"}),
    as_json(14, 16, {"consumerGroup": "golden-absent", "topic": "golden-topic", "queueId": "0", "setZeroIfNotFound": "false"}),
]


def main():
    for number, (encoding, head) in enumerate(REQUESTS):
        body = b"odd body" if number in (2, 3, 4, 5, 6, 7, 8) else b""
        frame = struct.pack(">I", encoding << 24 | len(head)) + head + body
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as peer:
            peer.sendall(struct.pack(">I", len(frame)) + frame)
            try:
                print(number, peer.recv(4096)[:200])
            except TimeoutError:
                print(number, "no answer")


if __name__ == "__main__":
    main()
