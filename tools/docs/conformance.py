"""docs/conformance.md: the expected behaviour line by line, from the marks of e2e/conformance and the list of what they don't have."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import tomllib

from tools.docs.page import ROOT, page, table

FOLDER = ROOT / "e2e/conformance"
UNMARKED = FOLDER / "unmarked.toml"
# Why a line has no mark, as unmarked.toml says it.
KINDS = {"elsewhere": "same", "differs": "differs", "not yet": "not yet", "own protocol": "does not apply"}

INTRO = """What a program may expect of Skerry, line by line, by the reference behaviour of Modal's Python SDK, and the test that shows it.
Each test runs against a real daemon (`e2e/conformance`), or where containers have no part in it, against the SDK. The
[table of the interface](api.md) has the names.

- **same**: as in the reference; the test is named.
- **differs**: on purpose; the reason is given.
- **not yet**: a later version; using it raises an error that says so.
- **does not apply**: about the reference's own wire protocol; Skerry has another."""


class Line(NamedTuple):
    """A line, and where it is shown or why it is not."""

    section: str
    text: str
    status: str
    remark: str


def pages() -> dict[str, str]:
    """Return the page. Raises ValueError where marks and list disagree."""
    chapters = _chapters()
    lines: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in (*_marked(), *_unmarked()):
        if line.section not in chapters:
            raise ValueError(f"{line.section!r} is no chapter of e2e/conformance/lines.py")
        lines[line.section, line.text].append(line)
    for (section, text), same in lines.items():
        if len({line.status for line in same}) > 1:
            raise ValueError(f"{section}: {text!r} is marked in a test and said to be otherwise in {UNMARKED.name}")
    count = dict.fromkeys(["same", "differs", "not yet", "does not apply"], 0)
    parts: list[str] = []
    for section, title in chapters.items():
        rows = [_row(text, found) for (chapter, text), found in lines.items() if chapter == section]
        for row in rows:
            count[row[1].strip("*").split(":")[0]] += 1
        parts.append(f"## {title}\n\n" + table(["line", "is", "shown by, or why"], rows))
    summary = ", ".join(f"{number} {status}" for status, number in count.items())
    text = page("Conformance", "marks of e2e/conformance/test_*.py, and unmarked.toml", INTRO, f"{summary}.", *parts)
    return {"docs/conformance.md": text}


def _row(text: str, found: list[Line]) -> list[str]:
    remarks = dict.fromkeys(line.remark for line in found)
    return [text, found[0].status, "; ".join(remarks)]


def _chapters() -> dict[str, str]:
    tree = ast.parse((FOLDER / "lines.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHAPTERS":
            return ast.literal_eval(node.value)
    raise ValueError("e2e/conformance/lines.py has no CHAPTERS")


def _marked() -> Iterator[Line]:
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            marks = [d for d in node.decorator_list if isinstance(d, ast.Call) and ast.unparse(d.func) == "line"]
            if not marks:
                raise ValueError(f"{path.name}: {node.name} names no line")
            for mark in marks:
                section, text = (ast.literal_eval(argument) for argument in mark.args)
                differs = next((ast.literal_eval(k.value) for k in mark.keywords if k.arg == "differs"), "")
                test = f"`{path.stem}.{node.name}`"
                yield Line(section, text, "differs" if differs else "same", f"{differs}: {test}" if differs else test)


def _unmarked() -> Iterator[Line]:
    for section, kinds in tomllib.loads(UNMARKED.read_text()).items():
        for kind, lines in kinds.items():
            for text, remark in lines:
                if kind == "elsewhere":
                    _check_named(remark)
                yield Line(section, text, KINDS[kind], remark)


def _check_named(remark: str) -> None:
    """Raise ValueError where a test that is named elsewhere is not there."""
    for word in remark.split("`")[1::2]:
        file, _, name = word.partition(" ")
        path = ROOT / file
        found = path.read_text() if path.is_file() else "".join(p.read_text() for p in sorted(path.glob("*_test.go")))
        if f"func {name}(" not in found and f"def {name}(" not in found:
            raise ValueError(f"{UNMARKED.name} names {word!r}, and there is no such test")
