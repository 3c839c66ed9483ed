"""Runs pieces of Python for skerry-init, each in the namespace that the ones before have left.

A frame is four bytes of length, big-endian, and JSON. Descriptor 3 brings {"code"}; 4 takes {"type": "result", "data", "main"}, {"type":
"error", "name", "value", "traceback"} and, last of each piece, {"type": "done"}. It uses the standard library alone.
"""

# pyright: basic
import ast
import asyncio
import base64
import builtins
import functools
import importlib.machinery
import importlib.util
import inspect
import io
import json
import linecache
import os
import signal
import struct
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

MAX_RESULT = 16 << 20
MAX_TEXT = 1 << 20
MAX_ROWS = 10_000
BACKEND = "skerry_figures"

# How an object shows itself, by MIME type; what is bytes is sent in base64.
REPRESENTATIONS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "application/json": "_repr_json_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
}

Bundle = dict[str, str]


class Link:
    """The frames to and from init."""

    def __init__(self) -> None:
        os.set_inheritable(3, False)
        os.set_inheritable(4, False)
        self._in = open(3, "rb", closefd=False)  # noqa: SIM115  it is open as long as we run
        self._out = open(4, "wb", closefd=False)  # noqa: SIM115

    def receive(self) -> dict[str, Any] | None:
        head = self._in.read(4)
        if len(head) < 4:
            return None
        body = self._in.read(struct.unpack(">I", head)[0])
        return json.loads(body)

    def send(self, **message: Any) -> None:
        body = json.dumps(message).encode()
        self._out.write(struct.pack(">I", len(body)) + body)
        self._out.flush()


def _text(value: Any, limit: int = MAX_TEXT) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "... (shortened)"


def _encode(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str)


def _table(value: Any) -> str | None:
    """Columns and rows of a pandas or polars data frame, as JSON."""
    library = type(value).__module__.split(".")[0]
    if type(value).__name__ != "DataFrame" or library not in ("pandas", "polars"):
        return None
    part = value.head(MAX_ROWS)
    if library == "pandas":
        split = json.loads(part.to_json(orient="split", date_format="iso", default_handler=str))
        return json.dumps({"columns": split["columns"], "rows": split["data"]})
    return json.dumps({"columns": list(part.columns), "rows": [list(row) for row in part.rows()]}, default=str)


def _guarded(make: Callable[[], Any]) -> Any:
    """What make returns, or None: how something is shown must not fail the code that made it."""
    try:
        return make()
    except Exception:
        return None


def bundle(value: Any) -> Bundle:
    """The forms in which a value can be shown."""
    data: Bundle = {"text/plain": _guarded(lambda: _text(repr(value))) or object.__repr__(value)}
    if not isinstance(value, type):
        made = getattr(value, "_repr_mimebundle_", None)
        extra = _guarded(made) if callable(made) else None
        if isinstance(extra, tuple) and extra:
            extra = extra[0]
        if isinstance(extra, dict):
            data.update({str(kind): _encode(form) for kind, form in extra.items()})
        for kind, name in REPRESENTATIONS.items():
            method = getattr(value, name, None) if kind not in data else None
            form = _guarded(method) if callable(method) else None
            if isinstance(form, tuple) and form:  # with metadata
                form = form[0]
            if form is not None:
                data[kind] = _encode(form)
        table = _guarded(lambda: _table(value))
        if table is not None:
            data["application/json"] = table
    left = MAX_RESULT - len(data["text/plain"])
    kept: Bundle = {"text/plain": data.pop("text/plain")}
    for kind, form in data.items():
        if len(form) <= left:
            kept[kind] = form
            left -= len(form)
    return kept


def _draw(figure: Any) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    return png.getvalue()


class Figures(importlib.machinery.ModuleSpec):
    """Finds the backend by which matplotlib gives its figures to us."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != BACKEND:
            return None
        file = os.path.join(os.path.dirname(os.path.abspath(__file__)), "figures.py")
        return importlib.util.spec_from_file_location(name, file)


class Kernel:
    """The state that pieces of code share."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.count = 0
        self.running = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.module = types.ModuleType("__main__")
        self.names = self.module.__dict__
        self.names.update(__builtins__=builtins, display=self.display)
        sys.modules["__main__"] = self.module

    def display(self, *values: Any) -> None:
        """Shows values on the way."""
        for value in values:
            self.show(bundle(value), main=False)

    def show(self, data: Bundle, main: bool) -> None:
        self.flush()
        self.link.send(type="result", data=data, main=main)

    def flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            _guarded(stream.flush)

    def figures(self) -> None:
        """Shows the figures that matplotlib has open, and closes them."""
        plt: Any = sys.modules.get("matplotlib.pyplot")
        if plt is None:
            return
        for number in _guarded(plt.get_fignums) or []:
            figure = plt.figure(number)
            png = _guarded(functools.partial(_draw, figure))
            if png is not None:
                self.show({"text/plain": repr(figure), "image/png": _encode(png)}, main=False)
            plt.close(figure)

    def run(self, code: str) -> None:
        self.count += 1
        name = f"<cell {self.count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        try:
            self.running = True
            value = self.execute(code, name)
            self.figures()
            if value is not None:
                self.names["_"] = value
                if not code.rstrip().endswith(";"):
                    self.show(bundle(value), main=True)
        except BaseException as error:  # whatever the code raises is its result, SystemExit as well
            self.running = False
            self.fail(error)
        finally:
            self.running = False
        self.flush()
        self.link.send(type="done")

    def execute(self, code: str, name: str) -> Any:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST)
        body: list[ast.stmt] = tree.body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        assert last is None or isinstance(last, ast.Expr)  # noqa: S101  for the type checker
        if body:
            self.evaluate(compile(tree, name, "exec", flags))
        if last is None:
            return None
        return self.evaluate(compile(ast.Expression(last.value), name, "eval", flags))

    def evaluate(self, code: types.CodeType) -> Any:
        value = eval(code, self.names)  # noqa: S307  it is what we are for
        if not code.co_flags & inspect.CO_COROUTINE:
            return value
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(value)
        try:
            return self.loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    def fail(self, error: BaseException) -> None:
        self.flush()
        # Ours are the frames above the code's own.
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        lines = _guarded(lambda: traceback.format_exception(type(error), error, trace)) or [repr(error)]
        value = _guarded(lambda: _text(error, MAX_TEXT // 16)) or ""
        self.link.send(
            type="error", name=type(error).__name__, value=value, traceback=_text("".join(lines), MAX_TEXT // 4)
        )

    def interrupt(self, *_: Any) -> None:
        if self.running:
            self.running = False  # once: what reports it must not be interrupted
            raise KeyboardInterrupt


def _no_input(*_: Any, **__: Any) -> str:
    raise RuntimeError(
        "input() has nobody to ask here: pass the value in as a variable, or start a process with a terminal"
    )


def _streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    def stream(fd: int) -> io.TextIOWrapper:
        raw = open(fd, "wb", buffering=0, closefd=False)  # noqa: SIM115
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[arg-type]

    return stream(1), stream(2)


def main() -> None:
    link = Link()
    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        sys.path[0] = ""
    sys.argv = [""]
    sys.stdout, sys.stderr = _streams()
    builtins.input = _no_input  # type: ignore[assignment]
    os.environ.setdefault("MPLBACKEND", "module://" + BACKEND)
    sys.meta_path.append(Figures)  # type: ignore[arg-type]
    kernel = Kernel(link)
    setattr(sys, "_skerry_figures", kernel.figures)  # noqa: B010  where the backend finds it
    signal.signal(signal.SIGINT, kernel.interrupt)
    while True:
        message = link.receive()
        if message is None:
            return
        kernel.run(message["code"])


if __name__ == "__main__":
    main()
