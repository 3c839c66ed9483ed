"""Marks a test with the lines of behaviour that it is about."""

from collections.abc import Callable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])

# The chapters of docs/conformance.md, in its order. The first part says how things behave, the second what the interface has.
CHAPTERS = {
    "0 actors": "Client, server and containers",
    "1 hydration": "Objects and when they get their ids",
    "2 serialization": "Arguments, results and handles as bytes",
    "2 sizes": "Sizes",
    "3 invocation": "Calls and their results",
    "3 mapping": "Results that are exceptions",
    "3 tracebacks": "Remote tracebacks",
    "4 retries": "Retries",
    "4 timeouts": "Time limits and start-up",
    "5 map": "Maps",
    "6 generators": "Generators",
    "7 runtime": "Inside a container",
    "7 paths": "Variables, paths and exit codes",
    "8 cancellation": "Cancellation, signals, stops",
    "9 concurrency": "Several inputs at a time",
    "9 batching": "Batches",
    "10 classes": "Classes, parameters, options",
    "11 snapshots": "Memory snapshots",
    "12 apps": "Apps: runs, deployments, versions",
    "13 sources": "Local code and files",
    "14 images": "Images",
    "17 schedules": "Schedules",
    "18 volumes": "Volumes",
    "19 dict": "Dicts",
    "19 queue": "Queues",
    "19 secret": "Secrets",
    "20 sandboxes": "Sandboxes",
    "21 logs": "Logs and output",
    "24 validation": "What is refused, and how",
    "0 conventions": "Interface: conventions",
    "1 App": "Interface: App",
    "1.1 options": "Interface: options of functions",
    "2 Function": "Interface: Function",
    "2 FunctionCall": "Interface: FunctionCall",
    "2 context": "Interface: context",
    "3 cls": "Interface: classes",
    "7 Image": "Interface: Image",
    "6 policies": "Interface: schedules and retries",
    "8 Sandbox": "Interface: sandboxes",
    "9 storage": "Interface: storage",
    "10 administration": "Interface: environments and workspaces",
    "11 logs managers": "Interface: logs",
    "12 types": "Interface: types",
}


def line(section: str, text: str, *, differs: str = "") -> pytest.MarkDecorator:
    """``@line("5 map", "Inputs are drawn lazily.")``: the chapter, and the line in short. A test may have several.

    `differs` says how and why Skerry does it in another way, which then is what the test shows.
    """
    assert section in CHAPTERS, f"no chapter {section!r}"
    return pytest.mark.line(section, text, differs)
