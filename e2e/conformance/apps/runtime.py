"""What code finds and does inside a container."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import skerry

app = skerry.App("conformance-runtime")
IMPORTED_LOCALLY = skerry.is_local()
IMPORTED_IN_MAIN_THREAD = threading.current_thread() is threading.main_thread()


def _running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


LOOP_AT_IMPORT = _running_loop()


@app.function()
def surroundings() -> dict[str, Any]:
    return {
        "environ": {name: value for name, value in os.environ.items() if name.startswith("SKERRY_")},
        "cwd": os.getcwd(),
        "path": sys.path,
        "user": os.getuid(),
        "imported": (IMPORTED_LOCALLY, IMPORTED_IN_MAIN_THREAD, LOOP_AT_IMPORT),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "modules": "skerry" in sys.modules,
        "task": os.environ["SKERRY_TASK_ID"],
    }


@app.function(max_containers=1)
def task(_x: int = 0) -> str:
    return os.environ["SKERRY_TASK_ID"]


@app.function()
def run_an_app() -> None:
    with skerry.App("inside").run():
        pass


@app.function()
def look_up(app_name: str, name: str) -> Any:
    return skerry.Function.from_name(app_name, name).hydrate().object_id


@app.function(max_containers=1)
def interrupts_itself(kind: str) -> str:
    if kind:
        raise KeyboardInterrupt
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
def leaves_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(60,), name="left-behind").start()
    return os.environ["SKERRY_TASK_ID"]


@app.function(env={"MINE": "yes", "NOT": None}, secrets=[skerry.Secret.from_dict({"MINE": "secret", "OTHER": "secret"})])
def variables() -> tuple[str | None, str | None, str | None]:
    return os.environ.get("MINE"), os.environ.get("OTHER"), os.environ.get("NOT")


@app.function(cpu=0.25, memory=256, timeout=60, startup_timeout=60, ephemeral_disk=512, block_network=True)
def limited() -> str:
    return "works"


@app.cls(max_containers=1)
class Life:
    @skerry.enter()
    def first(self) -> str:
        self.sync_in_main = threading.current_thread() is threading.main_thread()
        self.entered = 1
        return "ignored"

    @skerry.enter()
    async def second(self) -> None:
        self.loop = asyncio.get_running_loop()

    @skerry.method()
    async def same_loop(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    @skerry.method()
    def in_main_thread(self) -> tuple[bool, bool]:
        return self.sync_in_main, threading.current_thread() is threading.main_thread()

    @skerry.method()
    def count(self) -> int:
        self.entered += 1
        return self.entered

    @skerry.method()
    def calls_here(self) -> tuple[int, int]:
        """Calls a method of the instance it runs on, in both ways that stay in this process."""
        before = self.entered
        self.count()
        self.count.local()
        return before, self.entered


@app.cls(max_containers=1)
class FailsAtItsEnd:
    @skerry.enter()
    def begin(self) -> None:
        print("begun", flush=True)

    @skerry.exit()
    def end(self) -> None:
        raise RuntimeError("the exit hook failed")

    @skerry.exit()
    def end_too(self) -> None:
        print("the second exit hook ran", flush=True)

    @skerry.method()
    def task(self) -> str:
        return os.environ["SKERRY_TASK_ID"]


@app.cls(max_containers=1)
class FailsAtItsStart:
    @skerry.enter()
    def begin(self) -> None:
        raise ValueError("the enter hook failed", 7)

    @skerry.exit()
    def end(self) -> None:
        print("an exit hook ran", flush=True)

    @skerry.method()
    def run(self) -> None: ...


@app.cls(max_containers=1, startup_timeout=2)
class StartsSlowly:
    @skerry.enter()
    def begin(self) -> None:
        time.sleep(600)

    @skerry.method()
    def run(self) -> None: ...


@app.function(max_containers=1)
def until(path: str) -> str:
    """Runs until somebody makes a file in its container."""
    print(f"waits in {os.environ['SKERRY_TASK_ID']}", flush=True)
    while not Path(path).exists():
        time.sleep(0.05)
    return os.environ["SKERRY_TASK_ID"]
