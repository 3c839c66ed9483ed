"""Run `go test -json` and show one line a package, the output of what failed, and the count of tests that `go test` leaves out."""

import collections
import json
import subprocess
import sys

UNFINISHED_LINES = 2000


def main(args: list[str]) -> int:
    """Run the tests with go test's own arguments; the exit code is go test's."""
    counts: collections.Counter[str] = collections.Counter()
    output: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    with subprocess.Popen(["go", "test", "-json", *args], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if not line.startswith("{"):
                print(line, end="")
                continue
            handle(json.loads(line), counts, output)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return run.returncode


def handle(event: dict[str, str], counts: collections.Counter[str], output: dict[tuple[str, str], list[str]]) -> None:
    """Keep what a test prints until its end, and print it only when it failed."""
    package, test, action = event.get("Package", event.get("ImportPath", "")), event.get("Test", ""), event["Action"]
    if action in ("output", "build-output"):
        output[package, test].append(event["Output"])
    elif action == "build-fail":
        print("".join(output.pop((package, ""), [])), end="", flush=True)
    elif action in ("pass", "fail", "skip"):
        lines = output.pop((package, test), [])
        if test and "/" not in test:
            counts[action] += 1
        if action == "fail" and (test or "FAIL" in "".join(lines)):
            if not test:  # tests that never ended, such as at the package's timeout, whose output has all goroutines
                unfinished = [key for key in output if key[0] == package]
                counts["fail"] += sum(1 for _, name in unfinished if "/" not in name)
                lines = [line for key in unfinished for line in output.pop(key)][-UNFINISHED_LINES:] + lines
            print("".join(lines), end="", flush=True)
        elif not test and action == "pass":
            print(f"ok   {package} ({event.get('Elapsed', 0)} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
