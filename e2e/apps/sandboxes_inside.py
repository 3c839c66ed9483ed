"""A function whose code opens sandboxes, from inside of its container."""

import asyncio
import json

import skerry

app = skerry.App("sandboxes-inside")
image = skerry.Image.debian_slim(python_version="3.11")


def _listed(sandbox: skerry.Sandbox) -> bool:
    return sandbox.object_id in {each.object_id for each in skerry.Sandbox.list(tags={"made": "inside"})}


@app.function(image=image)
def work() -> str:
    """All with one sandbox, and then several at once."""
    sandbox = skerry.Sandbox.create("sh", "-c", "echo begun; sleep 600", timeout=300, tags={"made": "inside"}, encrypted_ports=[8000])
    process = sandbox.exec("sh", "-c", "cat; echo $WHO; exit 3", env={"WHO": "of the function"})
    process.stdin.write("typed\n")
    process.stdin.write_eof()
    process.stdin.drain()
    sandbox.filesystem.write_bytes(bytes(range(256)) * 4096, "/tmp/file")
    found = {
        "stdout": process.stdout.read(),
        "code": process.wait(),
        "file": sandbox.filesystem.read_bytes("/tmp/file") == bytes(range(256)) * 4096,
        "listed": _listed(sandbox),
        "main": next(iter(sandbox.stdout)),
        "ran": sandbox.run_code("6 * 7").text,
        "again": skerry.Sandbox.from_id(sandbox.object_id).exec("echo", "again").stdout.read(),
        "ended": sandbox.terminate(wait=True),
        "still listed": _listed(sandbox),
        "together": asyncio.run(_together()),
    }
    return json.dumps(found)


async def _together() -> list[str]:
    async def one(number: int) -> str:
        sandbox = await skerry.Sandbox.create.aio(timeout=300)
        process = await sandbox.exec.aio("echo", str(number))
        said = await process.stdout.read.aio()
        await sandbox.terminate.aio()
        return said

    return await asyncio.gather(*(one(number) for number in range(5)))


@app.local_entrypoint()
def main() -> None:
    """Say what the function has found."""
    print("found", work.remote())
