"""Skerry runs decorated Python functions in sandboxes on your own machines.

::

    import skerry

    app = skerry.App("hello")

    @app.function(image=skerry.Image.debian_slim().pip_install("numpy"))
    def square(x: int) -> int:
        return x * x

    @app.local_entrypoint()
    def main():
        print(square.remote(12))

Every call that talks to the server has a blocking form and an asynchronous twin: ``square.remote(12)`` and
``await square.remote.aio(12)``. Errors are exceptions; see :mod:`skerry.exception`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: importing typing would cost every container a few milliseconds
if TYPE_CHECKING:
    from ._client.client import Client as Client
    from ._context import current_function_call_id as current_function_call_id
    from ._context import current_input_id as current_input_id
    from ._context import interact as interact
    from ._context import is_local as is_local
    from ._objects.app import App as App
    from ._objects.bucket import CloudBucketMount as CloudBucketMount
    from ._objects.call import FunctionCall as FunctionCall
    from ._objects.cls import Cls as Cls
    from ._objects.decorators import batched as batched
    from ._objects.decorators import concurrent as concurrent
    from ._objects.decorators import enter as enter
    from ._objects.decorators import exit as exit  # noqa: A004 - the reference's name
    from ._objects.decorators import method as method
    from ._objects.decorators import parameter as parameter
    from ._objects.dict import Dict as Dict
    from ._objects.environment import Environment as Environment
    from ._objects.function import Function as Function
    from ._objects.image import Image as Image
    from ._objects.patterns import FilePatternMatcher as FilePatternMatcher
    from ._objects.queue import Queue as Queue
    from ._objects.secret import Secret as Secret
    from ._sandbox.egress import EgressSecret as EgressSecret
    from ._sandbox.probe import Probe as Probe
    from ._sandbox.sandbox import Sandbox as Sandbox
    from ._sandbox.snapshot import SandboxSnapshot as SandboxSnapshot
    from ._sandbox.tunnel import Tunnel as Tunnel
    from ._volume.volume import Volume as Volume
    from .exception import Error as Error
    from .output import enable_output as enable_output
    from .retries import Retries as Retries
    from .schedule import Cron as Cron
    from .schedule import Period as Period

__version__ = "0.1.0"

__all__ = [
    "App",
    "Client",
    "CloudBucketMount",
    "Cls",
    "Cron",
    "Dict",
    "EgressSecret",
    "Environment",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "Period",
    "Probe",
    "Queue",
    "Retries",
    "Sandbox",
    "SandboxSnapshot",
    "Secret",
    "Tunnel",
    "Volume",
    "__version__",
    "batched",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exit",
    "interact",
    "is_local",
    "method",
    "parameter",
]

# Where each exported name lives. Modules are imported at first use: a container needs few of them, and starts with every call waiting.
_HOMES = {
    "interact": "_context",
    "parameter": "_objects.decorators",
    "method": "_objects.decorators",
    "exit": "_objects.decorators",
    "enter": "_objects.decorators",
    "concurrent": "_objects.decorators",
    "batched": "_objects.decorators",
    "Retries": "retries",
    "Period": "schedule",
    "Cron": "schedule",
    "Cls": "_objects.cls",
    "App": "_objects.app",
    "Client": "_client.client",
    "CloudBucketMount": "_objects.bucket",
    "Error": "exception",
    "FilePatternMatcher": "_objects.patterns",
    "Dict": "_objects.dict",
    "Function": "_objects.function",
    "FunctionCall": "_objects.call",
    "Image": "_objects.image",
    "Queue": "_objects.queue",
    "Secret": "_objects.secret",
    "EgressSecret": "_sandbox.egress",
    "Environment": "_objects.environment",
    "Probe": "_sandbox.probe",
    "Sandbox": "_sandbox.sandbox",
    "SandboxSnapshot": "_sandbox.snapshot",
    "Tunnel": "_sandbox.tunnel",
    "Volume": "_volume.volume",
    "current_function_call_id": "_context",
    "current_input_id": "_context",
    "enable_output": "output",
    "is_local": "_context",
}
_SUBMODULES = frozenset(
    {
        "call_graph",
        "config",
        "container_process",
        "exception",
        "experimental",
        "file_io",
        "file_pattern_matcher",
        "io_streams",
        "output",
        "retries",
        "runner",
        "sandbox",
        "sandbox_fs",
        "schedule",
        "snapshot",
        "stream_type",
        "types",
    }
)
_LATER = frozenset(
    [
        "NetworkFileSystem",
        "Proxy",
        "SchedulerPlacement",
        "Server",
        "Workspace",
        "asgi_app",
        "billing",
        "fastapi_endpoint",
        "forward",
        "web_server",
        "wsgi_app",
    ]
)
_RENAMED = {"Stub": "App", "web_endpoint": "fastapi_endpoint"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if (home := _HOMES.get(name)) is not None:
        value = getattr(import_module(f".{home}", __name__), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _LATER:
        from ._later import later

        value = later(name)
        globals()[name] = value
        return value
    if name in _RENAMED:
        raise AttributeError(f"skerry.{name} does not exist: it was renamed to skerry.{_RENAMED[name]}")
    raise AttributeError(f"module 'skerry' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
