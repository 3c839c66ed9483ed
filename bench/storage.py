"""Dicts and queues, against the daemon that SKERRY_* or the HOME's profile names, beside Redis in the same run. Prints JSON."""

import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import skerry

from bench.peers.redis_server import redis

SECONDS = 3.0
WAKES = 100
VALUE = b"x" * 100


def main() -> None:
    """Measure."""
    with skerry.Dict.ephemeral() as entries, skerry.Queue.ephemeral() as queue, _redis() as store:
        client = skerry.Client.from_env()
        result: dict[str, Any] = {"request_per_s": _rate(client.hello)}
        entries["key"] = VALUE
        store("SET", "key", VALUE)
        for name, ours, theirs in (
            ("get", lambda: entries.get("key"), lambda: store("GET", "key")),
            ("put", lambda: entries.put("key", VALUE), lambda: store("SET", "key", VALUE)),
            ("queue_put", lambda: queue.put(VALUE, partition=_partition()), lambda: store("RPUSH", "queue", VALUE)),
        ):
            result[f"{name}_per_s"] = _rate(ours)
            result[f"redis_{name}_per_s"] = _rate(theirs)
        result["queue_put_get_per_s"] = _rate(lambda: (queue.put(VALUE), queue.get()))
        result["redis_queue_put_get_per_s"] = _rate(lambda: (store("RPUSH", "q", VALUE), store("LPOP", "q")))
        many = [VALUE] * 1000
        result["queue_many_per_s"] = 1000 * _rate(lambda: (queue.put_many(many), queue.get_many(1000)))
        result["redis_queue_many_per_s"] = 1000 * _rate(lambda: (store("RPUSH", "m", *many), store("LPOP", "m", "1000")))
        update = dict.fromkeys(range(1000), VALUE)
        result["update_per_s"] = 1000 * _rate(lambda: entries.update(update))
        pairs = [part for n in range(1000) for part in (str(n), VALUE)]
        result["redis_update_per_s"] = 1000 * _rate(lambda: store("MSET", *pairs))
        result["wake_ms"] = _wakes(queue)
        print(json.dumps(result))


_counter = iter(range(1 << 40))


def _partition() -> str:
    """A partition that is not full."""
    return str(next(_counter) // 4000)


def _rate(do: Callable[[], object]) -> float:
    do()
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < SECONDS:
        do()
        count += 1
    return count / (time.perf_counter() - began)


def _wakes(queue: skerry.Queue) -> dict[str, float]:
    """Milliseconds from before a put until a getter that waited has returned."""
    times: list[float] = []
    for _ in range(WAKES):
        woken: list[float] = []

        def get(woken: list[float] = woken) -> None:
            queue.get(partition="wake")
            woken.append(time.perf_counter())

        thread = threading.Thread(target=get)
        thread.start()
        time.sleep(0.05)  # so that it waits at the server, which nothing tells
        began = time.perf_counter()
        queue.put(1, partition="wake")
        thread.join()
        times.append((woken[0] - began) * 1000)
    cut = statistics.quantiles(times, n=100)
    return {"p50": statistics.median(times), "p99": cut[98]}


@contextmanager
def _redis() -> Generator[Callable[..., bytes]]:
    """Redis as its fastest clients ask it: one command, one answer, on a unix socket, without a library in between."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder, redis(folder) as path, socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        reader = link.makefile("rb")

        def command(*parts: str | bytes) -> bytes:
            encoded = [part.encode() if isinstance(part, str) else part for part in parts]
            link.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in encoded))
            return _answer(reader)

        yield command


def _answer(reader: Any) -> bytes:
    line: bytes = reader.readline()
    if line[:1] == b"-":
        raise RuntimeError(line.decode())
    if line[:1] == b"$" and int(line[1:]) >= 0:
        return reader.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        return b"".join(_answer(reader) for _ in range(int(line[1:])))
    return line


if __name__ == "__main__":
    main()
