"""The codec of frames against docs/runner-protocol.json."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from skerry._runner import wire

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "docs/runner-protocol.json").read_text())
HOST = {wire.START, wire.INPUT, wire.CANCEL, wire.STOP, wire.WITHDRAW}


def name(vector):
    return vector["name"]


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, wire.Channel(theirs)


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["frames"] if v["kind"] in HOST and "large" not in v["name"]], ids=name
)
def test_read(pair, vector):
    ours, channel = pair
    raw = bytes.fromhex(vector["bytes"])
    slowly = threading.Thread(target=lambda: [ours.sendall(raw[i : i + 1]) for i in range(len(raw))])
    slowly.start()
    assert channel.read() == (vector["kind"], json.loads(vector["meta"]), bytes.fromhex(vector["data"]))
    slowly.join()
    ours.close()
    assert channel.read() is None


def test_read_large(pair):
    ours, channel = pair
    by_name = {v["name"]: bytes.fromhex(v["bytes"]) for v in VECTORS["frames"]}
    ours.sendall(by_name["large input"] + by_name["input data"] + by_name["stop"])
    kind, meta, data = channel.read()
    assert (kind, meta["blob_size"], bytes(data)) == (wire.INPUT, 3, b"abc")
    assert channel.read()[0] == wire.STOP


@pytest.mark.parametrize("vector", [v for v in VECTORS["frames"] if v["kind"] not in HOST and v["meta"]], ids=name)
def test_send(pair, vector):
    ours, channel = pair
    channel.send(
        vector["kind"], json.dumps(json.loads(vector["meta"]), separators=(",", ":")), bytes.fromhex(vector["data"])
    )
    assert ours.recv(4096).hex() == vector["bytes"]


def test_send_large(pair):
    ours, channel = pair
    data = bytes(range(256)) * 10_000
    sender = threading.Thread(target=channel.send, args=(wire.OUTPUT, "{}", data))
    sender.start()
    received = b""
    while len(received) < len(data) + 4 * 9 + 2:
        received += ours.recv(1 << 20)
    sender.join()
    assert received[:11] == b"\x07\0\0\0\x12\x02\0\0\0{}"
    assert received[11:20] == (5 + (1 << 20)).to_bytes(4, "little") + b"\x13\0\0\0\0"
    assert received[-(len(data) - (2 << 20)) :] == data[2 << 20 :]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=name)
def test_refused(pair, vector):
    ours, channel = pair
    ours.sendall(bytes.fromhex(vector["bytes"]))
    with pytest.raises(wire.ProtocolError):
        channel.read()


def test_cut_off(pair):
    ours, channel = pair
    ours.sendall(bytes.fromhex(VECTORS["frames"][0]["bytes"])[:-1])
    ours.close()
    with pytest.raises(wire.ProtocolError):
        channel.read()


def test_arrived(pair):
    ours, channel = pair
    by_name = {v["name"]: bytes.fromhex(v["bytes"]) for v in VECTORS["frames"]}
    assert channel.arrived() == []
    ours.sendall(by_name["input"] + by_name["cancel"] + by_name["stop"][:5])
    assert [kind for kind, _, _ in channel.arrived()] == [wire.INPUT, wire.CANCEL]
    ours.sendall(by_name["stop"][5:] + by_name["withdraw"])
    assert channel.read()[0] == wire.STOP
    assert channel.buffered()
    assert [kind for kind, _, _ in channel.arrived()] == [wire.WITHDRAW]
    assert not channel.buffered()
    ours.sendall(by_name["input"] * 2000)  # more than the buffer holds
    assert len(channel.arrived()) == 2000
    ours.close()
    assert channel.arrived() == []
    assert channel.read() is None


def test_hold(pair):
    ours, channel = pair
    for _ in range(3):
        channel.hold(wire.OUTPUT, "{}", b"x")
    assert channel.held_bytes == 36
    channel.flush()
    channel.flush()
    assert ours.recv(4096) == b"\x08\0\0\0\x12\x02\0\0\0{}x" * 3
    assert channel.held_bytes == 0


def test_frames_of_every_size_around_the_buffer(pair):
    ours, channel = pair
    sizes = [*range((64 << 10) - 40, (64 << 10) + 5), 512 << 10, 1 << 20, 5]

    def send():
        for size in sizes:
            ours.sendall((7 + size).to_bytes(4, "little") + b"\x02\x02\0\0\0{}" + b"x" * size)

    sender = threading.Thread(target=send)
    sender.start()
    assert [len(channel.read()[2]) for _ in sizes] == sizes
    sender.join()
