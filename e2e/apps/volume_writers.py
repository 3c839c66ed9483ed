"""Writers of one volume, and a model of what must be in it, while containers and every process of Skerry are killed.

It prints a line with "turn" for whatever is done. At a line on its standard input the killing is over: then all is written once more, and
compared with the model, and "complete" printed.

A path is written by one container alone, for which of two containers has committed last is nobody's promise; but for one file of all.
"""

import contextlib
import io
import random
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path, PurePosixPath

import skerry
from skerry.exception import ExecutionError
from skerry.types import FileEntryType

app = skerry.App("volume-writers")
volume = skerry.Volume.from_name("e2e-writers", create_if_missing=True)

# Files of a set, which is made aside and renamed as a folder: so a version has all of them or none.
SET = ("a", "b", "c/d", "c/e")
WRITE_SET = """
set -e; cd /data/$1; mkdir -p aside/c
for f in a b c/d c/e; do yes "set-$2" | head -n 500 > aside/$f; done
mv aside set-$2
[ $3 = 0 ] || { mv set-$3 aside; rm -r aside; }
"""
APPEND = "printf 'record %09d\\n' $2 >> /data/$1/log"


def content(path: str, number: int) -> bytes:
    """The n-th content of a file, which says in every line what it is; "large" is one of several chunks."""
    line = f"{path} {number:09}\n".encode()
    return line * (5_000_000 // len(line) if path.endswith("large") else 1 + number % 300)


def torn(path: str, data: bytes) -> str | None:
    """What is wrong with a file's bytes, whatever version it is of."""
    name = PurePosixPath(path).name
    if "/set-" in path:
        wanted = f"{path[path.index('set-') :].partition('/')[0]}\n".encode() * 500
    elif name == "log":
        wanted = b"".join(f"record {n:09}\n".encode() for n in range(len(data) // 17))
    elif name in {"small", "other", "large", "all"}:
        words = data.partition(b"\n")[0].decode(errors="replace").split()
        wanted = content(words[0], int(words[1])) if len(words) == 2 and words[1].isdecimal() else b"(a name and a number)"
    else:
        return None  # not made yet
    return None if data == wanted else f"{path}: torn: {len(data)} bytes instead of {len(wanted)}, {data[:60]!r}"


def incomplete(paths: list[str]) -> list[str]:
    """The sets of which a version has some files and not the others."""
    sets: dict[str, set[str]] = {}
    for path in paths:
        folder, found, rest = path.partition("/set-")
        number, _, file = rest.partition("/")
        if found:
            sets.setdefault(f"{folder}/set-{number}", set()).add(file)
    return [f"{where}: only {sorted(files)}" for where, files in sets.items() if files != set(SET)]


@app.function(volumes={"/data": volume}, max_containers=2, timeout=300)
def add_set(number: int) -> list[str]:
    """Add a set, commit it, and look through all that others have committed."""
    top = Path("/data")
    volume.reload()
    aside = top / "functions" / f"aside-{uuid.uuid4().hex}"
    where = top / "functions" / f"set-{number}"
    (aside / "c").mkdir(parents=True)
    for file in SET:
        (aside / file).write_text(f"set-{number}\n" * 500)
    if where.exists():  # by a container that was lost before it could say so
        shutil.rmtree(aside)
    else:
        aside.rename(where)
    volume.commit()
    volume.reload()
    files = [str(path.relative_to(top)) for path in sorted(top.rglob("*")) if path.is_file() and "aside" not in str(path)]
    wrong = [text for path in files if (text := torn(path, (top / path).read_bytes()))]
    return wrong + incomplete(files)


class Model:
    """What each path may have: the number that is promised, and those that were written since; None is nothing."""

    def __init__(self) -> None:
        self._now: dict[str, int | None] = {}
        self.may: dict[str, set[int | None]] = {}

    def begin(self, path: str, number: int | None) -> None:
        """Something is about to be written: from now on it may be there."""
        self.may.setdefault(path, {None}).add(number)

    def done(self, path: str, number: int | None) -> None:
        """It was written, and the next commit has it."""
        self._now[path] = number

    def promised(self) -> None:
        """A commit has succeeded that began after all that was done."""
        for path, number in self._now.items():
            self.may[path] = {number}


class Turns:
    """Counts what is done, in lines that are printed, until the killing is over."""

    def __init__(self) -> None:
        self.calm = threading.Event()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._count = 0

    def took(self, what: str) -> None:
        """Something is done."""
        with self._lock:
            print(f"turn {self._count} {what}", flush=True)
            self._count += 1

    def run(self, lives: Sequence[Callable[[], None]]) -> None:
        """Have writers live, side by side: again and again until all is calm, and once if it is. What they raise is wrong."""

        def each(life: Callable[[], None]) -> None:
            try:
                life()
                while not self.calm.is_set():
                    life()
            except Exception as err:
                self.wrong.append(repr(err))

        threads = [threading.Thread(target=each, args=(life,)) for life in lives]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @contextlib.contextmanager
    def survived(self, what: str) -> Generator[None]:
        """What is done in it may fail while something is being killed: also by what a function's code meets, and by a refused reload."""
        calm = self.calm.is_set()
        try:
            yield
        except (skerry.Error, OSError, RuntimeError) as err:
            self.took(f"{what} {type(err).__name__}: {err}")
            if calm:
                raise


class SandboxWriter:
    """Writes from a sandbox, and then from another, each in a folder of its own."""

    def __init__(self, name: str, chance: random.Random, turns: Turns) -> None:
        self._name, self._chance, self._turns = name, chance, turns
        self.models: list[Model] = []

    def life(self) -> None:
        """That of one sandbox."""
        calm = self._turns.calm.is_set()
        folder = f"{self._name}-{len(self.models)}"
        model = Model()
        self.models.append(model)
        with self._turns.survived(folder):
            sandbox = skerry.Sandbox.create(app=app, volumes={"/data": volume}, timeout=600)
            with self._turns.survived(folder):
                self._run(sandbox, "mkdir", f"/data/{folder}")
                self._write(sandbox, folder, model)
            sandbox.terminate(wait=True)
        if calm:  # nothing was killed since it was made, so its end has committed all
            model.promised()

    def _write(self, sandbox: skerry.Sandbox, folder: str, model: Model) -> None:
        records, last = 0, 0
        for number in range(1, self._chance.randint(8, 40)):
            match self._chance.choice(("promise", "log", "set", "set", "small", "other", "large", "all")):
                case "promise":
                    sandbox.reload_volumes()
                    model.promised()
                case "log":
                    model.begin(f"{folder}/log", records + 1)
                    self._run(sandbox, "sh", "-c", APPEND, "sh", folder, str(records))
                    records += 1
                    model.done(f"{folder}/log", records)
                case "set":
                    made, gone = f"{folder}/set-{number}", f"{folder}/set-{last}"
                    model.begin(made, number)
                    model.begin(gone, None)
                    self._run(sandbox, "sh", "-c", WRITE_SET, "sh", folder, str(number), str(last))
                    model.done(made, number)
                    model.done(gone, None)
                    last = number
                case "all":
                    sandbox.filesystem.write_bytes(content("all", number), "/data/all")
                case name:
                    path = f"{folder}/{name}"
                    model.begin(path, number)
                    sandbox.filesystem.write_bytes(content(path, number), f"/data/{path}")
                    model.done(path, number)
            self._turns.took(folder)

    def _run(self, sandbox: skerry.Sandbox, *command: str) -> None:
        process = sandbox.exec(*command)
        said = process.stderr.read()
        if process.wait() != 0:
            raise ExecutionError(f"{command}: {said}")


class OutsideWriter:
    """Adds sets, by a function or by an upload, each of which is promised when it was added."""

    def __init__(self, folder: str, turns: Turns) -> None:
        self._folder, self._turns = folder, turns
        self._number = 0
        self.model = Model()

    def life(self) -> None:
        """One set."""
        self._number += 1
        path = f"{self._folder}/set-{self._number}"
        self.model.begin(path, self._number)
        with self._turns.survived(path):
            self._add(path)
            self.model.done(path, self._number)
            self.model.promised()
            self._turns.took(path)

    def _add(self, path: str) -> None:
        if self._folder == "functions":
            self._turns.wrong += add_set.remote(self._number)
            return
        with volume.batch_upload() as batch:
            for file in SET:
                batch.put_file(io.BytesIO(f"set-{self._number}\n".encode() * 500), f"{path}/{file}")


def _files() -> list[str]:
    """Those of one version, but for what is not made yet."""
    return [entry.path for entry in volume.iterdir("/") if entry.type == FileEntryType.FILE and "/aside" not in entry.path]


def _different(models: list[Model]) -> list[str]:
    """What the volume has that it must not have, and what it has not."""
    found: dict[str, int | None] = {}
    paths = _files()
    wrong = incomplete(paths)
    for path in paths:
        data = b"".join(volume.read_file(path))
        where, in_set, rest = path.partition("/set-")
        if text := torn(path, data):
            wrong.append(text)
        elif in_set:
            number = rest.partition("/")[0]
            found[f"{where}/set-{number}"] = int(number)
        elif path.endswith("/log"):
            found[path] = len(data) // 17 or None
        elif PurePosixPath(path).name in {"small", "other", "large"}:
            found[path] = int(data.partition(b"\n")[0].split()[1])
    for model in models:
        for path, may in model.may.items():
            if found.get(path) not in may:
                wrong.append(f"{path}: has {found.get(path)}, may have {sorted(may, key=str)}")
    return wrong


@app.local_entrypoint()
def main(seed: int, writers: int) -> None:
    turns = Turns()
    inside = [SandboxWriter(f"w{i}", random.Random(seed * 100 + i), turns) for i in range(writers)]
    outside = [OutsideWriter(folder, turns) for folder in ("functions", "uploads")]

    def look() -> None:
        turns.wrong += incomplete(_files())

    def hear() -> None:
        sys.stdin.readline()
        turns.calm.set()

    lives = [*(each.life for each in inside), *(each.life for each in outside)]
    turns.run([*lives, look, hear])
    turns.run(lives)
    models = [model for each in inside for model in each.models] + [each.model for each in outside]
    turns.wrong += _different(models)
    assert not turns.wrong, f"seed {seed}: {turns.wrong[:20]}"
    print(f"complete: {len(models)} containers wrote {sum(len(model.may) for model in models)} paths", flush=True)
