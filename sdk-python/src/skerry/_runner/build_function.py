"""Runs a function in a build step: ``python /__skerry/py/skerry/_runner/build_function.py TIMEOUT PART...``.

The parts together are a zip archive: ``call.json`` names the function, ``arguments.pickle`` is ``(args, kwargs)``, ``function.pickle`` the
function itself where it can't be imported, and below ``src/`` is its source, which is unpacked to a folder that the image never has.
The process ends with 0, with 1 after a traceback, or with 124 where the function took longer than its timeout in seconds.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SOURCE = "/run/skerry/function"
_TIMED_OUT = 124


def main(timeout: float, parts: list[str]) -> None:
    """Run the function."""
    import faulthandler
    import io
    import json
    import os
    import pickle
    import threading
    import traceback
    import zipfile

    def expire() -> None:
        sys.stderr.write(f"FunctionTimeoutError: the build function took longer than {timeout:g} s\n")
        faulthandler.dump_traceback(file=sys.stderr)
        sys.stderr.flush()
        os._exit(_TIMED_OUT)

    data = b"".join(_read(part) for part in parts)
    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.startswith("src/"):
                    archive.extract(name, _SOURCE)
            call = json.loads(archive.read("call.json"))
            sys.path[:0] = [_SOURCE + "/src", "/root"]
            if call["modal_names"]:
                from skerry import _modal

                _modal.install()
            function: Any = _find(call) if call["module"] else pickle.loads(archive.read("function.pickle"))
            args, kwargs = pickle.loads(archive.read("arguments.pickle"))
        result: Any = function(*args, **kwargs)
        if hasattr(result, "__await__"):
            import asyncio

            asyncio.run(_wait(result))
    except SystemExit:
        raise
    except BaseException as err:
        # Nothing of ours is in what the user reads.
        trace = err.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(type(err), err, trace or err.__traceback__)
        sys.exit(1)
    finally:
        timer.cancel()
        sys.stdout.flush()
        sys.stderr.flush()


async def _wait(result: Any) -> None:
    await result


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _find(call: dict[str, str]) -> object:
    from importlib import import_module

    found: object = import_module(call["module"])
    for name in call["qualname"].split("."):
        found = getattr(found, name)
    raw = getattr(found, "get_raw_f", None)  # decorated where it is defined
    return found if raw is None else raw()


if __name__ == "__main__":
    # Python puts this file's folder first; what is ours comes after all that the image has.
    here = sys.path.pop(0)
    sys.path.append(here.rpartition("/skerry/")[0])
    main(float(sys.argv[1]), sys.argv[2:])
