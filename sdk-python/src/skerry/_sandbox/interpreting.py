"""Code that shares its state from run to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectrpc.errors import ConnectError
from protobuf import Oneof

from skerry import exception as exc
from skerry._client import faults
from skerry._client.background import check_cancelled
from skerry._client.dual import dual
from skerry._client.feed import Feed
from skerry._gen.skerry.v1 import interpreter_pb as pb
from skerry._names import check_variables
from skerry._objects.options import check_secrets
from skerry._run.policies import duration

from .code import CodeError, CodeEvent, CodeExecution, CodeResult
from .execution import check_workdir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from skerry._objects.secret import Secret

    from .inside import Inside
    from .secrets import SecretKeeper

LANGUAGES = ("python", "javascript", "bash")
MAX_CODE_BYTES = 4 << 20


class CodeContext:
    """Where code runs that shares its state: what one piece defines the next one sees. ``sandbox.create_code_context`` makes one."""

    def __init__(self, inside: Inside, info: pb.ContextInfo) -> None:
        self._inside = inside
        self._info = info

    def __repr__(self) -> str:
        return f"CodeContext({self.context_id!r}, language={self.language!r})"

    @property
    def context_id(self) -> str:
        """Its id."""
        return self._info.context_id

    @property
    def language(self) -> str:
        """Which of "python", "javascript" and "bash" its code is in."""
        return self._info.language

    @property
    def workdir(self) -> str:
        """Where its code runs."""
        return self._info.workdir

    @dual
    async def interrupt(self) -> None:
        """Interrupt what runs in it, as Ctrl-C does."""
        request = pb.InterruptContextRequest(context_id=self.context_id)
        await self._inside.ask(lambda: self._inside.aio.interpreters.interrupt_context(request))

    @dual
    async def restart(self) -> None:
        """Give it fresh state."""
        request = pb.RestartContextRequest(context_id=self.context_id)
        await self._inside.ask(lambda: self._inside.aio.interpreters.restart_context(request))

    @dual
    async def remove(self) -> None:
        """End it."""
        request = pb.RemoveContextRequest(context_id=self.context_id)
        await self._inside.ask(lambda: self._inside.aio.interpreters.remove_context(request))


class Interpreting:
    """The part of a sandbox that runs code that shares its state."""

    _inside: Inside
    _keeper: SecretKeeper

    @property
    def run_code(self) -> RunCode:
        """Run code: ``sandbox.run_code("x = 1; x + 1").text``. See :class:`RunCode`."""
        return RunCode(self._inside)

    @dual
    async def create_code_context(
        self,
        language: str = "python",
        *,
        workdir: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
    ) -> CodeContext:
        """Make a context with fresh state.

        Args:
            language: "python", "javascript" or "bash"; the image has to have it.
            workdir: absolute; default: the sandbox's.
            env: more environment variables.
            secrets: secrets that become environment variables.

        Raises NotFoundError where the image has no such interpreter, ResourceExhaustedError for more than 32.
        """
        self._inside.check()
        request = pb.CreateContextRequest(
            language=_check_language(language),
            workdir=check_workdir(workdir),
            env=check_variables("create_code_context env", env or {}),
        )
        if secrets:
            request.environment_ids = [await self._keeper.seal(check_secrets(secrets))]
        answer = await self._inside.ask(lambda: self._inside.aio.interpreters.create_context(request))
        return CodeContext(self._inside, answer.context or pb.ContextInfo())

    @dual
    async def code_contexts(self) -> list[CodeContext]:
        """Return the contexts, oldest first."""
        self._inside.check()
        request = pb.ListContextsRequest()
        answer = await self._inside.ask(lambda: self._inside.aio.interpreters.list_contexts(request))
        return [CodeContext(self._inside, info) for info in answer.contexts]


class RunCode:
    """Runs code in a sandbox: call it, await its ``aio``, or iterate over its ``stream``."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def __call__(
        self,
        code: str,
        *,
        language: str | None = None,
        context: CodeContext | None = None,
        timeout: float | None = None,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        on_result: Callable[[CodeResult], Any] | None = None,
    ) -> CodeExecution:
        """Run code and return what came of it. What it raises is in ``error`` of that.

        Args:
            code: at most 4 MiB.
            language: "python", "javascript" or "bash", in a context that all such calls share; default: python.
            context: run it there instead.
            timeout: seconds until it is interrupted.
            on_stdout: called with what it writes to standard output, as it comes.
            on_stderr: likewise.
            on_result: called with each value that it shows, as it comes.

        Raises InvalidError, NotFoundError where the image has no such interpreter, ConflictError where the interpreter died.
        """
        from skerry._twin import warn_if_in_event_loop

        warn_if_in_event_loop("Sandbox.run_code", "await sandbox.run_code.aio(...)")
        execution = _Execution(on_stdout, on_stderr, on_result)
        with self._feed(code, language, context, timeout) as events:
            for event in events:
                execution.add(event)
        return execution.made

    async def aio(
        self,
        code: str,
        *,
        language: str | None = None,
        context: CodeContext | None = None,
        timeout: float | None = None,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        on_result: Callable[[CodeResult], Any] | None = None,
    ) -> CodeExecution:
        """Do the same without blocking the event loop."""
        execution = _Execution(on_stdout, on_stderr, on_result)
        with self._feed(code, language, context, timeout) as events:
            async for event in events:
                execution.add(event)
        return execution.made

    def stream(
        self,
        code: str,
        *,
        language: str | None = None,
        context: CodeContext | None = None,
        timeout: float | None = None,
    ) -> Feed[CodeEvent]:
        """Run code and iterate, with ``for`` or ``async for``, over what comes of it as it comes."""
        return Feed(lambda: self._events(_request(code, language, context, timeout)))

    def _feed(
        self, code: str, language: str | None, context: CodeContext | None, timeout: float | None
    ) -> Feed[CodeEvent]:
        request = _request(code, language, context, timeout)
        return Feed(lambda: self._events(request))

    async def _events(self, request: pb.RunCodeRequest) -> AsyncIterator[CodeEvent]:
        async for response in _run(self._inside, request):
            match response.event:
                case Oneof(field="stdout", value=text):
                    yield CodeEvent("stdout", text=text)
                case Oneof(field="stderr", value=text):
                    yield CodeEvent("stderr", text=text)
                case Oneof(field="result", value=result):
                    yield CodeEvent("result", result=CodeResult(dict(result.data), result.main))
                case Oneof(field="error", value=error):
                    yield CodeEvent("error", error=CodeError(error.name, error.value, error.traceback))
                case Oneof(field="done", value=done):
                    yield CodeEvent("done", execution_count=done.execution_count, timed_out=done.timed_out)
                case _:
                    continue


class _Execution:
    """What came of code so far."""

    def __init__(self, on_stdout: Any, on_stderr: Any, on_result: Any) -> None:
        self.made = CodeExecution()
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._callbacks = {"stdout": on_stdout, "stderr": on_stderr, "result": on_result}

    def add(self, event: CodeEvent) -> None:
        """Add what came."""
        made = self.made
        if event.type == "stdout":
            self._stdout.append(event.text)
        elif event.type == "stderr":
            self._stderr.append(event.text)
        elif event.result is not None:
            made.results.append(event.result)
        elif event.error is not None:
            made.error = event.error
        else:
            made.stdout, made.stderr = "".join(self._stdout), "".join(self._stderr)
            made.execution_count, made.timed_out = event.execution_count, event.timed_out
        callback = self._callbacks.get(event.type)
        if callback is not None:
            callback(event.result or event.text)


def _request(code: str, language: str | None, context: CodeContext | None, timeout: float | None) -> pb.RunCodeRequest:
    if not isinstance(code, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise exc.InvalidError(f"code must be str, not {type(code).__name__}")
    if len(code.encode()) > MAX_CODE_BYTES:
        raise exc.InvalidError("code takes more than 4 MiB; write it to a file of the sandbox and run that")
    if context is not None and language is not None and language != context.language:
        raise exc.InvalidError(f"language {language!r}: the context's is {context.language!r}")
    request = pb.RunCodeRequest(code=code)
    if context is not None:
        request.context_id = context.context_id
    else:
        request.language = _check_language(language or "python")
    if timeout is not None:
        if isinstance(timeout, bool) or timeout <= 0:
            raise exc.InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
        request.timeout = duration(timeout)
    return request


def _check_language(language: str) -> str:
    if language not in LANGUAGES:
        raise exc.InvalidError(f"language {language!r}: want 'python', 'javascript' or 'bash'")
    return language


async def _run(inside: Inside, request: pb.RunCodeRequest) -> AsyncIterator[pb.RunCodeResponse]:
    """Yield what comes of code. It is sent once: code that may have begun is not run again."""
    import asyncio

    inside.check()
    retries = inside.client.retries()
    while True:
        try:
            async for response in inside.aio.interpreters.run_code(request):
                yield response
        except ConnectError as err:
            await check_cancelled()
            if not faults.is_refused(err):
                if err.code in faults.AWAY:
                    raise exc.ServiceError(
                        f"the connection was lost while the code ran, which goes on without its output being seen: {err.message}"
                    ) from None
                raise faults.from_connect(err) from None
            delay = retries.next_delay(err)
            if delay is None:
                raise inside.client._give_up(err.message) from None
            await asyncio.sleep(delay)
        else:
            return
