"""Functions that are defined in cells of Jupyter and marimo notebooks, run by real kernels."""

import os
import signal
import subprocess
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat.v4
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from e2e.daemon import ROOT, Daemon

V4: Any = nbformat.v4

DEFINE = """
    import skerry
    app = skerry.App("notebook")

    @app.function()
    def square(x):
        print("squaring", x)
        return x * x

    @app.cls()
    class Adder:
        n: int = skerry.parameter(default=1)

        @skerry.method()
        def add(self, x):
            return square.remote(x) + self.n
"""


class Watching(NotebookClient):
    """A client that calls back when a cell has written something."""

    def __init__(self, notebook: Any, **options: Any) -> None:
        super().__init__(notebook, **options)
        self.awaited = ""
        self.then: Callable[[], object] = lambda: None

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """See what comes from the kernel."""
        if self.awaited and self.awaited in msg["content"].get("text", ""):
            self.awaited = ""
            self.then()
        return super().process_message(msg, cell, cell_index)


class Notebook:
    """A notebook whose cells are run one by one."""

    def __init__(self, client: Watching) -> None:
        self.client = client

    def run(self, source: str) -> str:
        """Run a new cell; what it shows, as text."""
        cell: Any = V4.new_code_cell(textwrap.dedent(source))
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return "\n".join(output.get("text") or output["data"].get("text/plain", "") for output in cell.outputs)


@pytest.fixture
def notebook(daemon: Daemon) -> Generator[Notebook]:
    """A notebook with a kernel of its own, whose client is the daemon's."""
    with _kernel(daemon) as notebook:
        yield notebook


@contextmanager
def _kernel(daemon: Daemon) -> Generator[Notebook]:
    client = Watching(V4.new_notebook(), timeout=300, kernel_name="python3")
    with client.setup_kernel(env=daemon.env, cwd=str(daemon.home)):
        yield Notebook(client)


def test_functions_and_classes_of_cells_run_remotely(notebook: Notebook) -> None:
    notebook.run(DEFINE)
    shown = notebook.run("""
        with skerry.enable_output(), app.run():
            print(f"result: {square.remote(7)} {Adder(n=3).add.remote(2)}")  # in one write: lines of containers come between two
    """)
    assert "square | squaring 7" in shown
    assert "result: 49 7" in shown
    assert "\x1b" not in shown


def test_progress_of_a_map_is_in_the_cell(notebook: Notebook) -> None:
    notebook.run(DEFINE)
    shown = notebook.run("""
        with skerry.enable_output(), app.run():
            print(f"sum: {sum(square.map(range(10)))}")
    """)
    assert "sum: 285" in shown
    assert "square.map: 10/10" in shown
    assert "\x1b" not in shown


def test_exceptions_are_the_cells(notebook: Notebook) -> None:
    notebook.run(DEFINE)
    with pytest.raises(CellExecutionError, match="TypeError"):
        notebook.run("""
            with app.run():
                square.remote("text")
        """)


def test_cells_may_define_again(notebook: Notebook) -> None:
    notebook.run(DEFINE)
    shown = notebook.run("""
        @app.function()
        def square(x):
            return -x

        with app.run():
            print(square.remote(3))
    """)
    assert shown.strip() == "-3"


def test_an_interrupt_cancels_the_input(notebook: Notebook, daemon: Daemon) -> None:
    notebook.run("""
        import skerry, time
        app = skerry.App("notebook-interrupted")

        @app.function(max_containers=1)
        def wait():
            print("it waits", flush=True)
            try:
                time.sleep(600)
            except skerry.exception.InputCancellation:
                print("it was cancelled", flush=True)
                raise

        @app.function()
        def hello():
            return "hello"

        _ = app.deploy()
    """)
    client = notebook.client
    manager: Any = client.km
    client.awaited, client.then = "it waits", lambda: os.kill(manager.provisioner.process.pid, signal.SIGINT)
    with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
        notebook.run("""
            import threading
            def follow():
                for entry in wait.logs.stream():
                    print(entry.message)
            threading.Thread(target=follow, daemon=True).start()
            wait.remote()
        """)
    # The container's output says so, and the kernel goes on.
    assert "it was cancelled" in notebook.run("""
        for entry in app.logs.stream():
            if "cancelled" in entry.message:
                break
        print(entry.message)
    """)
    assert notebook.run("print(hello.remote())").strip() == "hello"
    daemon.skerry("app", "stop", "notebook-interrupted", "--yes")


def test_deployed_functions_by_a_magic(notebook: Notebook) -> None:
    notebook.run(DEFINE)
    notebook.run("_ = app.deploy()")
    shown = notebook.run("""
        %load_ext skerry.experimental.ipython
        %skerry from notebook import square as squared, Adder
        print(squared.remote(5), Adder(n=1).add.remote(1))
    """)
    assert shown.strip() == "25 2"


MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import skerry

    skerry_app = skerry.App("marimo")

    @skerry_app.function()
    def square(x):
        print("squaring", x)
        return x * x

    return skerry, skerry_app, square


@app.cell
def _(skerry, skerry_app, square):
    with skerry.enable_output(), skerry_app.run():
        print(f"sum: {sum(square.map(range(4)))} {square.remote(7)}")
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.mark.parametrize("as_script", [True, False])
def test_marimo(daemon: Daemon, tmp_path: Path, as_script: bool) -> None:
    file = tmp_path / "cells.py"
    file.write_text(MARIMO)
    bin_ = ROOT / ".venv/bin"
    export = [str(bin_ / "marimo"), "-q", "export", "ipynb", str(file), "--include-outputs", "-o", str(tmp_path / "out.ipynb")]
    argv = [str(bin_ / "python"), str(file)] if as_script else export
    done = subprocess.run(argv, env=daemon.env, cwd=tmp_path, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    shown = done.stdout if as_script else (tmp_path / "out.ipynb").read_text()
    assert "sum: 14 49" in shown
    assert "squaring 7" in shown
