"""Drives the Python SDK through sandboxes.json and prints a line for each case: its number, and what was not as it should be."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skerry
from skerry import exception

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sandboxes.json").read_text())
COMPARED = ("stdout", "stderr", "code", "text", "names", "type", "size", "permissions", "owner", "target", "error", "found")
TIMES = {"timeout_ms": "timeout", "idle_timeout_ms": "idle_timeout"}
Step = dict[str, Any]


class Driver:
    """Does what steps say with one sandbox."""

    def __init__(self) -> None:
        self.app = skerry.App.lookup("behaviour", create_if_missing=True)
        self.image = skerry.Image.debian_slim()
        hidden = skerry.Secret.from_dict({"HIDDEN": "of-secret"})
        self.sandbox = self.make(env={"BASE": "of-sandbox"}, secrets=[hidden], timeout=600)
        self.started: dict[str, Any] = {}
        self.kinds: dict[str, Callable[[Step, Any], Step]] = {
            "exec": self.exec,
            "create": self.create,
            "start": self.start,
            "signal": self.signal,
            "write": lambda step, path: {"text": self.files.write_text(step["text"], path) or step["text"]},
            "read": lambda _, path: {"text": self.files.read_text(path)},
            "list": lambda _, path: {"names": [file.name for file in self.files.list_files(path)]},
            "stat": self.stat,
            "mkdir": lambda step, path: {"made": self.files.make_directory(path, create_parents=step.get("parents", True))},
            "remove": lambda step, path: {"gone": self.files.remove(path, recursive=step.get("recursive", False))},
            "run": self.run,
            "tags": self.tags,
            "rename": self.rename,
            "shorten": self.shorten,
            "sidecar": self.sidecar,
            "terminate": lambda _, name: {"code": self.sidecars[name].terminate(wait=True)},
            "ended": lambda _, name: {"code": self.sidecars[name].wait()},
        }
        self.sidecars: dict[str, Any] = {}
        self.place: Any = self.sandbox

    @property
    def files(self) -> Any:
        """The files of the sandbox, or of the sidecar that a step is in."""
        return self.place.filesystem

    def make(self, *command: str, **params: Any) -> skerry.Sandbox:
        """Make a sandbox."""
        return skerry.Sandbox.create(*command, app=self.app, image=self.image, **params)

    def check(self, step: Step) -> str:
        """Do a step; return what is not as it should be."""
        kind = next(key for key in step if key in self.kinds)
        self.place = self.sidecars[step["in"]] if "in" in step else self.sandbox
        try:
            found = self.kinds[kind](step, step[kind])
        except exception.Error as err:
            if step.get("fails") == type(err).__name__:
                return ""
            return f"{step}: {type(err).__name__}: {err}"
        if "fails" in step:
            return f"{step}: did not fail"
        wrong = {key: found.get(key) for key in COMPARED if key in step and key != kind and found.get(key) != step[key]}
        if kind == "tags" and found["tags"] != step["tags"]:
            wrong = found
        return f"{step}: {wrong}" if wrong else ""

    def exec(self, step: Step, argv: list[str]) -> Step:
        """Run a process to its end."""
        process = self.place.exec(*argv, **_spelled(step, ("env", "secret", "workdir", "timeout_ms", "pty", "user")))
        if not step.get("pty"):
            process.stdin.write(step.get("stdin", ""))
            process.stdin.write_eof()
            process.stdin.drain()
        return {"stdout": process.stdout.read(), "stderr": process.stderr.read(), "code": process.wait()}

    def create(self, _step: Step, given: Step) -> Step:
        """Make a sandbox of its own and wait for its end."""
        made = self.make(*given.get("command", []), **_spelled(given, tuple(key for key in given if key != "command")))
        with contextlib.suppress(exception.SandboxTimeoutError, exception.RemoteError):  # the exit code says it
            made.wait(raise_on_termination=False)
        return {"code": made.returncode, "stdout": made.stdout.read(), "stderr": made.stderr.read()}

    def start(self, step: Step, argv: list[str]) -> Step:
        """Start a process and leave it."""
        self.started[step["as"]] = self.place.exec(*argv)
        return {}

    def signal(self, step: Step, number: int) -> Step:
        """Signal that process."""
        process = self.started[step["of"]]
        process.signal(number)
        return {"code": process.wait()}

    def stat(self, _step: Step, path: str) -> Step:
        """Describe a file."""
        file = self.files.stat(path)
        return {
            "type": file.type.value,
            "size": file.size,
            "permissions": file.permissions,
            "owner": file.owner,
            "target": file.symlink_target,
        }

    def run(self, step: Step, code: str) -> Step:
        """Run code in the default context of its language."""
        done = self.sandbox.run_code(code, language=step.get("language"))
        main = [result.text for result in done.results if result.is_main]
        return {"text": main[0] if main else None, "stdout": done.stdout, "error": done.error.name if done.error else None}

    def tags(self, _step: Step, tags: dict[str, str]) -> Step:
        """Set tags, and read them back."""
        self.sandbox.set_tags(tags)
        return {"tags": self.sandbox.get_tags()}

    def rename(self, _step: Step, name: str) -> Step:
        """Name the sandbox, and find it by that."""
        self.sandbox._experimental_set_name(name)  # pyright: ignore[reportPrivateUsage]
        return {"found": skerry.Sandbox.from_name("behaviour", name).object_id == self.sandbox.object_id}

    def shorten(self, _step: Step, milliseconds: int) -> Step:
        """Make a sandbox, give it another time to live, and wait for its end."""
        made = self.make()
        try:
            made.set_timeout(milliseconds / 1000)
            with contextlib.suppress(exception.SandboxTimeoutError):  # the exit code says it
                made.wait()
        finally:
            made.terminate()
        return {"code": made.returncode}

    def sidecar(self, step: Step, name: str) -> Step:
        """Make a sidecar."""
        params = _spelled(step, ("env", "workdir"))
        self.sidecars[name] = self.sandbox._experimental_sidecars.create(*step.get("command", []), name=name, image=self.image, **params)  # pyright: ignore[reportPrivateUsage]
        return {}


def _spelled(given: Step, keys: tuple[str, ...]) -> Step:
    """Return parameters as this SDK spells them."""
    params: Step = {}
    for key in keys:
        if key not in given:
            continue
        if key == "secret":
            params["secrets"] = [skerry.Secret.from_dict(given[key])]
        elif key in TIMES:
            params[TIMES[key]] = given[key] / 1000
        else:
            params[key] = given[key]
    return params


def main() -> None:
    """Run all cases."""
    driver = Driver()
    try:
        for number, case in enumerate(CASES):
            wrong = [text for step in case["steps"] if (text := driver.check(step))]
            print(json.dumps([number, wrong]), flush=True)
    finally:
        driver.sandbox.terminate()


if __name__ == "__main__":
    sys.exit(main())
