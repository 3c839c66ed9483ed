"""Measure everything, one after the other so that nothing disturbs another, and print the table."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import floors, machine
from bench.importing import importing
from bench.report import Figure, table, write
from e2e import s3
from e2e.daemon import Daemon

ROOT = machine.ROOT


def main() -> int:
    """Exit code 0 even where a target is missed: figures are compared by people, not asserted."""
    if sys.argv[1:] == ["volumes"]:
        print(table(_volumes(volumes())))
        return 0
    raw: dict[str, Any] = {}
    _say("floors: unix socket out of gVisor, runsc run")
    raw["echo"] = {name: dataclasses.asdict(spread) for name, spread in floors.echo().items()}
    raw["runsc_run"] = dataclasses.asdict(floors.runsc_run())
    _say("import")
    raw["import"] = {name: dataclasses.asdict(spread) for name, spread in importing().items()}
    for name in ("ray_tasks", "celery_tasks", "processes"):
        _say(name.replace("_", " "))
        raw[name] = _script(ROOT / "bench/.venv/bin/python", f"bench.peers.{name}", {"PYTHONWARNINGS": "ignore"})
    _say("skerry")
    with Daemon.temporary() as daemon:
        raw["skerry"] = _script(ROOT / ".venv/bin/python", "bench.skerry_calls", daemon.env)
    _say("dicts and queues")
    with Daemon.temporary() as daemon:
        raw["storage"] = _script(ROOT / ".venv/bin/python", "bench.storage", daemon.env)
    _say("volumes and buckets")
    raw["volumes"] = volumes()
    _say("sandboxes")
    with Daemon.temporary() as daemon:
        raw["sandboxes"] = _script(ROOT / ".venv/bin/python", "bench.sandboxes", daemon.env)
    builds: dict[str, dict[str, float]] = {}
    for runtime in ("runsc", "runc"):
        _say(f"builds in {runtime}")
        with Daemon.temporary(flags=("--build-runtime", runtime)) as daemon:
            builds[runtime] = _script(ROOT / ".venv/bin/python", "bench.builds", daemon.env)
    raw["builds"] = builds
    _say("images")
    raw["images"] = _script(ROOT / ".venv/bin/python", "bench.images", {})
    figures = (
        _figures(raw)
        + _storage(raw["storage"])
        + _volumes(raw["volumes"])
        + _sandboxes(raw["sandboxes"], raw["runsc_run"]["p50"])
        + _build_figures(builds["runsc"], builds["runc"])
        + _images(raw["images"])
    )
    out = ROOT / "bench/out/result.json"
    write(out, machine.describe(), figures, raw)
    print(table(figures))
    print(f"written to {out.relative_to(ROOT)}")
    return 0


def _figures(raw: dict[str, Any]) -> list[Figure]:
    """The promises of the design beside their floors and peers."""
    ours, bare = raw["skerry"], raw["import"]["nothing"]["p50"]
    peers = {"Ray": raw["ray_tasks"], "Celery + Redis": raw["celery_tasks"], "multiprocessing": raw["processes"]}

    def beside(key: str) -> dict[str, float]:
        return {name: peer[key] for name, peer in peers.items()}

    def floor(quantile: str) -> dict[str, float]:
        return {"echo out of gVisor (floor)": raw["echo"]["gvisor"][quantile]}

    sandbox = {"runsc run python3 (floor)": raw["runsc_run"]["p50"]}
    modal = {"import modal": raw["import"]["modal"]["p50"] - bare}
    return [
        Figure("warm .remote(), p50", ours["p50_ms"], "ms", 1, floor("p50") | beside("p50_ms")),
        Figure("warm .remote(), p99", ours["p99_ms"], "ms", None, floor("p99") | beside("p99_ms")),
        Figure(".map, two containers", ours["map_per_s"], "calls/s", 10_000, beside("map_per_s"), least=True),
        Figure(".map, batched, two containers", ours["batched_per_s"], "calls/s", None, {"not batched": ours["map_per_s"]}, least=True),
        Figure("100 concurrent inputs that sleep 1 s", ours["sleepers_ms"], "ms", 2000, {}),
        Figure("generator", ours["items_per_s"], "items/s", None, {}, least=True),
        Figure("warm .remote(), concurrent threads", ours["concurrent_p50_ms"], "ms", None, {"not concurrent": ours["p50_ms"]}),
        Figure("warm .remote(), concurrent tasks", ours["concurrent_async_p50_ms"], "ms", None, {"not concurrent": ours["p50_ms"]}),
        Figure("cold start, 0 to first result, p50", ours["cold_p50_ms"], "ms", 400, sandbox),
        Figure("import skerry and its names", raw["import"]["skerry names"]["p50"] - bare, "ms", 150, modal),
    ]


def _storage(raw: dict[str, Any]) -> list[Figure]:
    """Dicts and queues: durable, over HTTP/2, one request each; beside Redis, all of it in memory, and a request that does nothing."""

    def beside(key: str) -> dict[str, float]:
        return {"Redis, in memory": raw[f"redis_{key}"]}

    bare = {"request that does nothing (floor)": raw["request_per_s"]}
    return [
        Figure("Dict.get", raw["get_per_s"], "1/s", None, bare | beside("get_per_s"), least=True),
        Figure("Dict.put", raw["put_per_s"], "1/s", None, bare | beside("put_per_s"), least=True),
        Figure("Dict.update, entries of 1,000", raw["update_per_s"], "1/s", None, beside("update_per_s"), least=True),
        Figure("Queue.put", raw["queue_put_per_s"], "1/s", None, bare | beside("queue_put_per_s"), least=True),
        Figure("Queue.put and .get", raw["queue_put_get_per_s"], "1/s", None, beside("queue_put_get_per_s"), least=True),
        Figure("Queue.put_many and .get_many of 1,000", raw["queue_many_per_s"], "items/s", None, beside("queue_many_per_s"), least=True),
        Figure("blocked Queue.get wakes, p50", raw["wake_ms"]["p50"], "ms", 10, {}),
        Figure("... p99", raw["wake_ms"]["p99"], "ms", None, {}),
    ]


def volumes() -> Any:
    """What bench.volumes measures, with a daemon whose operator lets buckets be on this host."""
    with s3.server("bench") as server, Daemon.temporary(flags=(f"--bucket-endpoints={server.url}",)) as daemon:
        return _script(ROOT / ".venv/bin/python", "bench.volumes", {**daemon.env, "BENCH_S3": server.url})


def _volumes(raw: dict[str, float]) -> list[Figure]:
    """Volumes in containers beside a plain folder of the host there; what commits and reloads take, beside a copy of the same files."""

    def speed(name: str, key: str, unit: str) -> Figure:
        return Figure(name, raw[key], unit, None, {"plain folder": raw[f"plain_{key}"]}, least=True)

    def times(count: int) -> list[Figure]:
        copy = {"cp -a of plain files": raw[f"cp_{count}"]}
        return [
            Figure(f"commit of {count:,} new files", raw[f"commit_{count}"], "ms", None, copy),
            Figure("... of one more", raw[f"commit_one_of_{count}"], "ms", None, {}),
            Figure("... reload of them elsewhere", raw[f"reload_{count}"], "ms", None, copy),
        ]

    def bucket(name: str, key: str) -> Figure:
        return Figure(name, raw[f"bucket_{key}"], "MiB/s", None, {"S3 server, directly": raw[f"bucket_direct_{key}"]}, least=True)

    return [
        speed("volume, sequential write", "write", "MiB/s"),
        speed("... read in another container", "cold_read", "MiB/s"),
        speed("... again", "warm_read", "MiB/s"),
        speed("volume, small files written", "small_write", "files/s"),
        speed("... read in another container", "small_cold_read", "files/s"),
        speed("... again", "small_warm_read", "files/s"),
        *(figure for count in (10, 10_000, 100_000) if f"commit_{count}" in raw for figure in times(count)),
        bucket("bucket, written and synced", "write"),
        bucket("... read", "read"),
    ]


def _sandboxes(raw: dict[str, float], runsc: float) -> list[Figure]:
    """What agents wait for. Published figures of hosted sandboxes were measured over the internet, with one `node -v`."""
    floor = {"runsc run python3 (floor)": runsc}
    published = {"best hosted, published": 113.0}
    burst = {"best hosted, published": 275.0, "one after the other": raw["plain_sequential_p50_ms"]}
    return [
        Figure("sandbox, create to first exec, p50", raw["plain_sequential_p50_ms"], "ms", 25, floor),
        Figure("... p99", raw["plain_sequential_p99_ms"], "ms", 3 * raw["plain_sequential_p50_ms"], {}),
        Figure("... 100 at once, p50", raw["plain_burst_p50_ms"], "ms", 275, burst),
        Figure("... image on the host, not hot, p50", raw["not_hot_p50_ms"], "ms", 110, floor),
        Figure("sandbox, create to node -v, p50", raw["node_sequential_p50_ms"], "ms", None, published),
        Figure("... 100 at once, p50", raw["node_burst_p50_ms"], "ms", None, {"best hosted, published": 275.0}),
        Figure("exec of true, p50", raw["exec_p50_ms"], "ms", None, {}),
        Figure("file of 200 MB written", raw["file_write_mb_s"], "MB/s", None, {}, least=True),
        Figure("file of 200 MB read", raw["file_read_mb_s"], "MB/s", None, {}, least=True),
        Figure("snapshot of files", raw["snapshot_files_ms"], "ms", None, {}),
        Figure("snapshot with memory", raw["snapshot_memory_ms"], "ms", None, {}),
        Figure("restore to first exec, p50", raw["restore_p50_ms"], "ms", None, {}),
        Figure("fork into ten", raw["fork_10_ms"], "ms", None, {"restore of one": raw["restore_p50_ms"]}),
        Figure("resume to first exec", raw["resume_ms"], "ms", None, {}),
        Figure("sandboxes made in a second", raw["sandboxes_per_s"], "1/s", None, {}, least=True),
        Figure("memory of an idle sandbox", raw["idle_mib"], "MiB", 24, {}),
    ]


def _build_figures(ours: dict[str, float], runc: dict[str, float]) -> list[Figure]:
    """What builds cost, and what their isolation adds."""
    names = {"step_ms": "build step that does nothing", "work_ms": "build step that works"}
    return [
        Figure("build with nothing to do", ours["no_op_ms"], "ms", None, {"app without functions (floor)": ours["bare_ms"]}),
        Figure(
            "build, one layer of five changed",
            ours["one_layer_ms"],
            "ms",
            None,
            {"nothing to do": ours["no_op_ms"], "one new step and the image (floor)": ours["one_step_ms"]},
        ),
        Figure("build of one new step", ours["one_step_ms"], "ms", None, {"not isolated (runc)": runc["one_step_ms"]}),
        *(Figure(name, ours[key], "ms", None, {"not isolated (runc)": runc[key]}) for key, name in names.items()),
    ]


def _images(raw: dict[str, float]) -> list[Figure]:
    """What lazy loading promises, and what it costs."""
    native = {"plain file of the host, page cache": raw["native_mib_s"]}
    small, large = f"image of {raw['small_mib']:,.0f} MiB", f"image of {raw['large_mib']:,.0f} MiB"
    return [
        Figure(
            "image stored, from its tar", raw["export_mb_s"], "MB/s", None, {"mkfs.erofs, stored nowhere": raw["mkfs_mb_s"]}, least=True
        ),
        Figure(
            f"first call, nothing on the worker: {large}",
            raw["large_cold_ms"],
            "ms",
            1.5 * raw["small_cold_ms"],
            {small: raw["small_cold_ms"]},
        ),
        Figure("... fetched for it", raw["large_cold_mib"], "MiB", None, {small: raw["small_cold_mib"]}),
        Figure(
            f"first call, worker restarted: {large}",
            raw["large_warm_ms"],
            "ms",
            None,
            {small: raw["small_warm_ms"], "nothing on the worker": raw["large_cold_ms"]},
        ),
        Figure("read in the container, from the blob store", raw["first_read_mib_s"], "MiB/s", None, native, least=True),
        Figure("read in the container, from the worker's chunks", raw["chunks_read_mib_s"], "MiB/s", None, native, least=True),
        Figure("read in the container, again", raw["again_read_mib_s"], "MiB/s", None, native, least=True),
    ]


def _script(python: Path, module: str, env: dict[str, str]) -> Any:
    done = subprocess.run([str(python), "-m", module], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _say(what: str) -> None:
    print(f"  ..  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
