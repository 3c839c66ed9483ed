"""Calls to the server from inside a container: the Connect protocol over HTTP/1.1 on the container's socket, by the standard library alone.

Containers bring their own Python and no native packages of ours. The socket is the identity: no token is sent.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from connectrpc.code import Code
from connectrpc.errors import ConnectError

import skerry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from protobuf import Message
    from typing_extensions import Self

SOCKET = "/__skerry/run/gateway.sock"

_ENVELOPE = struct.Struct(">BI")
_END = 2  # the flag of the frame that ends a stream
_MAX_LINE = 64 << 10
_MAX_FRAME = 64 << 20
_SPLIT = re.compile(r"(?<!^)(?=[A-Z])")


class Service:
    """A service's methods, called as those of a generated client: ``service.get_call(request)``.

    Args:
        module: the generated module of its messages.
        name: its name in that module's package, such as "CallService".
        path: the socket.
        below: the path that the service's own is below.
    """

    def __init__(self, module: Any, name: str, path: str = SOCKET, below: str = "") -> None:
        desc = next(s for s in module.desc().services if s.type_name == f"skerry.v1.{name}")
        for method in desc.methods:
            attribute = _SPLIT.sub("_", method.name).lower()
            setattr(self, attribute, Method(path, f"{below}/skerry.v1.{name}/{method.name}", method, module))


class Method:
    """A method of a service."""

    def __init__(self, path: str, route: str, desc: Any, module: Any) -> None:
        self._path = path
        self._route = route
        self._kind = str(desc.method_kind)
        self._output: Any = _message_class(module, desc.output.type_name)

    @property
    def streams(self) -> bool:
        """Whether it has many answers."""
        return self._kind not in ("unary", "client_streaming")

    def __call__(
        self, request: Any, *, timeout_ms: int | None = None, opened: Callable[[Exchange], None] | None = None
    ) -> Any:
        """Do a request.

        Args:
            request: the message, or an iterator of messages.
            timeout_ms: most milliseconds it may take.
            opened: is given what can end it early.
        """
        if self._kind == "unary":
            return self._unary(request, timeout_ms, opened)
        messages = iter((request,)) if self._kind == "server_streaming" else iter(request)
        answers = self._stream(messages, timeout_ms, opened)
        if self.streams:
            return answers
        answer = next(answers, None)
        for _ in answers:
            pass  # its end says whether it went well
        if answer is None:
            raise ConnectError(Code.UNAVAILABLE, "the server gave no answer")
        return answer

    def _unary(self, request: Message, timeout_ms: int | None, opened: Callable[[Exchange], None] | None) -> Any:
        with Exchange(self._path, self._route, "application/proto", timeout_ms) as exchange:
            if opened is not None:
                opened(exchange)
            exchange.send_whole(request.to_binary())
            status, headers = exchange.head()
            body = b"".join(exchange.body(headers))
        if status != 200:
            raise _error(_json(body), status)
        return self._output.from_binary(body)

    def _stream(
        self, requests: Iterator[Message], timeout_ms: int | None, opened: Callable[[Exchange], None] | None
    ) -> Iterator[Any]:
        with Exchange(self._path, self._route, "application/connect+proto", timeout_ms) as exchange:
            if opened is not None:
                opened(exchange)
            exchange.begin_chunks()
            threading.Thread(target=exchange.send_all, args=(requests,), name="skerry requests", daemon=True).start()
            status, headers = exchange.head()
            if status != 200:
                raise _error(_json(b"".join(exchange.body(headers))), status)
            for flags, data in _envelopes(exchange.body(headers)):
                if not flags & _END:
                    yield self._output.from_binary(data)
                    continue
                if (error := _json(data).get("error")) is not None:
                    raise _error(error, status)
                return
        raise ConnectError(Code.UNAVAILABLE, "the stream broke off")


def _message_class(module: Any, type_name: str) -> Any:
    """Return a message's class, from the module of its service or from those that this one imports."""
    name = type_name.rpartition(".")[2]
    places: list[Any] = [module, *cast("dict[str, Any]", vars(module)).values()]
    for place in places:
        found = getattr(place, name, None)
        if isinstance(found, type):
            return found
    raise AttributeError(f"no class for message {type_name}")


class Exchange:
    """One request and its answer, on a connection of its own."""

    def __init__(self, path: str, route: str, content_type: str, timeout_ms: int | None) -> None:
        self._route = route
        self._type = content_type
        # The server keeps to it.
        self._timeout = () if timeout_ms is None else (f"Connect-Timeout-Ms: {timeout_ms}",)
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.connect(path)
        except OSError as err:
            self._sock.close()
            raise ConnectError(
                Code.UNAVAILABLE, f"the container has no access to the server: {err}"
            ) from ConnectionRefusedError()
        self._reader: Any = self._sock.makefile("rb", buffering=64 << 10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the thread that sends, if there is one.
        self.cut()
        self._reader.close()
        self._sock.close()

    def cut(self) -> None:
        """End it, from any thread: what waits for it gets an error."""
        with suppress(OSError):  # the other side has closed it
            self._sock.shutdown(socket.SHUT_RDWR)

    def send_whole(self, body: bytes) -> None:
        """Send a request whose body is known."""
        self._send(self._head(f"Content-Length: {len(body)}") + body)

    def begin_chunks(self) -> None:
        """Begin a request whose body comes bit by bit."""
        self._send(self._head("Transfer-Encoding: chunked"))

    def send_all(self, messages: Iterable[Message]) -> None:
        """Send messages as they come, to their end or that of the connection."""
        try:
            for message in messages:
                data = message.to_binary()
                self._sock.sendall(
                    b"%x\r\n" % (len(data) + _ENVELOPE.size) + _ENVELOPE.pack(0, len(data)) + data + b"\r\n"
                )
            self._sock.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the answer's end says why

    def _head(self, length: str) -> bytes:
        lines = (
            f"POST {self._route} HTTP/1.1",
            "Host: gateway",
            f"Content-Type: {self._type}",
            "Connect-Protocol-Version: 1",
            f"User-Agent: skerry-python/{skerry.__version__}",
            f"X-Skerry-Client-Version: python/{skerry.__version__}",
            "Connection: close",
            *self._timeout,
            length,
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as err:
            raise ConnectError(Code.UNAVAILABLE, f"the server went away: {err}") from None

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the answer's status and headers."""
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[1].isdigit():
            raise ConnectError(Code.UNAVAILABLE, "the server did not answer")
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(words[1]), headers

    def body(self, headers: dict[str, str]) -> Iterator[bytes]:
        """Read the answer's body as it comes."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            while size := int(self._line().partition(";")[0] or "0", 16):
                yield self._exactly(size)
                self._line()
        elif (length := headers.get("content-length")) is not None:
            yield self._exactly(int(length))
        else:
            while data := self._read1():
                yield data

    def _line(self) -> str:
        try:
            return self._reader.readline(_MAX_LINE).decode("latin-1").rstrip("\r\n")
        except (OSError, ValueError) as err:
            raise ConnectError(Code.UNAVAILABLE, f"the server went away: {err}") from None

    def _exactly(self, size: int) -> bytes:
        try:
            data = self._reader.read(size)
        except (OSError, ValueError) as err:
            raise ConnectError(Code.UNAVAILABLE, f"the server went away: {err}") from None
        if len(data) < size:
            raise ConnectError(Code.UNAVAILABLE, "the server went away in the middle of an answer")
        return data

    def _read1(self) -> bytes:
        try:
            return self._reader.read1(64 << 10)
        except (OSError, ValueError) as err:
            raise ConnectError(Code.UNAVAILABLE, f"the server went away: {err}") from None


def _envelopes(parts: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Cut a stream's body into its frames."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        while len(buffer) >= _ENVELOPE.size:
            flags, size = _ENVELOPE.unpack_from(buffer)
            if size > _MAX_FRAME:
                raise ConnectError(Code.INTERNAL, f"the server sent a frame of {size} bytes")
            end = _ENVELOPE.size + size
            if len(buffer) < end:
                break
            data = bytes(buffer[_ENVELOPE.size : end])
            del buffer[:end]
            yield flags, data


def _json(body: bytes) -> dict[str, Any]:
    try:
        value: Any = json.loads(body or b"{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _error(error: dict[str, Any], status: int) -> ConnectError:
    try:
        code = Code(error.get("code"))
    except ValueError:
        code = Code.UNAVAILABLE if status in (502, 503, 504) else Code.UNKNOWN
    return ConnectError(code, str(error.get("message") or f"the server answered with status {status}"))
