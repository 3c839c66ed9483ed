"""Sections 2 and 3: what becomes of values and exceptions that make trouble on their way."""

import traceback
from typing import Any

import pytest
import skerry

from e2e.conformance.apps import values
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(values.app) as app:
        return app


@line("2 serialization", "Empty arguments are ((), {}).")
def test_no_arguments() -> None:
    assert values.take.remote() == "taken"


@line("2 serialization", "A missing module is named, and the side that lacks it, for arguments and results.")
def test_missing_modules() -> None:
    with pytest.raises(skerry.exception.DeserializationError, match="'only_here', which is not in the remote environment"):
        values.take.remote(values.OnlyHere())
    with pytest.raises(skerry.exception.ExecutionError, match="'only_there', which is not in the local environment"):
        values.only_there.remote()


@line("2 serialization", "AttributeError while reading: DeserializationError with a hint at versions of Python or of the library.")
def test_hints_at_versions() -> None:
    with pytest.raises(skerry.exception.DeserializationError, match="Python versions"):
        values.take.remote(values.Unreadable("module has no attribute '_make_function'", "attribute"))
    with pytest.raises(skerry.exception.DeserializationError, match="versions of the library"):
        values.take.remote(values.Unreadable("module has no attribute 'Gone'", "attribute"))


@line("2 serialization", "Any other failure to read is a DeserializationError with its type and text; the container goes on.")
def test_other_failures_to_read() -> None:
    with pytest.raises(skerry.exception.DeserializationError, match="KeyError: 'some key'"):
        values.take.remote(values.Unreadable("some key", "key"))
    assert values.take.remote() == "taken"


@line("2 serialization", "A result that can't be written: SerializationError; the container goes on.")
def test_result_that_can_not_be_pickled() -> None:
    with pytest.raises(skerry.exception.SerializationError, match="lock"):
        values.unpicklable.remote()
    assert values.take.remote() == "taken"


@line("2 serialization", "An argument that can't be written is an error here; nothing is called.")
def test_argument_that_can_not_be_pickled() -> None:
    import threading

    with pytest.raises(skerry.exception.SerializationError, match="lock"):
        values.take.remote(threading.Lock())


@line("2 serialization", "serialized=True: the function itself is sent, with what it closes over; over 256 KiB with a warning.")
def test_serialized_function() -> None:
    app, large = skerry.App("conformance-serialized"), bytes(300_000)

    def size() -> int:
        return len(large)

    function = app.function(serialized=True, name="size")(size)
    with pytest.warns(UserWarning, match="bytes when pickled"), app.run():
        assert function.remote() == 300_000


@line("2 serialization", "A serialized function of more than 16 MiB: InvalidError.")
def test_serialized_function_that_is_too_large() -> None:
    app, large = skerry.App("conformance-too-large"), bytes(17 << 20)

    def size() -> int:
        return len(large)

    app.function(serialized=True, name="size")(size)
    with pytest.raises(skerry.exception.InvalidError, match="16 MiB"), app.run():
        pass


@line("3 mapping", "An exception that can't be read here: ExecutionError that says why, with the remote traceback.")
def test_exception_that_can_not_be_read() -> None:
    with pytest.raises(skerry.exception.ExecutionError, match="Could not deserialize remote exception due to local error") as caught:
        values.fail.remote("only there")
    assert "raise OnlyReadableThere" in str(caught.value)


@line("3 mapping", "An exception that can't be written: SerializationError that describes it, with the remote traceback.")
def test_exception_that_can_not_be_written() -> None:
    with pytest.raises(skerry.exception.SerializationError, match="Locked: holds a lock") as caught:
        values.fail.remote("locked")
    assert "raise Locked" in str(caught.value)


@line("3 mapping", "Exceptions keep their type, arguments and attributes.")
def test_attributes_of_exceptions() -> None:
    with pytest.raises(values.Attributed) as caught:
        values.fail_with_attributes.remote()
    assert (caught.value.code, caught.value.detail) == (7, "more")


@line("3 mapping", "Causes and contexts of exceptions come with them.")
def test_causes() -> None:
    with pytest.raises(ValueError, match="second") as caught:
        values.fail.remote("cause")
    assert isinstance(caught.value.__cause__, KeyError)
    assert "first" in "".join(traceback.format_exception(caught.value))


@line("3 mapping", "Hints for relative imports and CUDA versions that do not fit.")
@pytest.mark.parametrize(("kind", "error", "hint"), [("relative", ImportError, "skerry run -m"), ("cuda", RuntimeError, "CUDA version")])
def test_hints(kind: str, error: type[Exception], hint: str) -> None:
    with pytest.raises(error) as caught:
        values.fail.remote(kind)
    assert hint in "".join(traceback.format_exception(caught.value))


@line("3 tracebacks", "The SDK's own frames are left out; lines of source are those of the container.")
def test_frames_and_source() -> None:
    with pytest.raises(ValueError, match="second") as caught:
        values.fail.remote("cause")
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise ValueError("second") from err' in text
    assert "_runner" not in text


@line(
    "2 sizes",
    "Texts of exceptions are trimmed at 2 MiB.",
    differs="an exception of more than 512 KiB is not sent as an object: it is described by a SerializationError with a trimmed text",
)
def test_long_exception() -> None:
    with pytest.raises(skerry.exception.SerializationError, match="ValueError") as caught:
        values.fail.remote("long")
    assert "characters left out" in str(caught.value)
    assert 1000 < len(str(caught.value)) < (1 << 20)


@line("1 hydration", "Lazy handles ask the server at their first use, or by hydrate(); then they have an id.")
def test_lazy_handles() -> None:
    missing = skerry.Function.from_name("conformance-no-such-app", "nothing")
    assert not missing.is_hydrated
    with pytest.raises(skerry.exception.NotFoundError):
        missing.hydrate()
    assert values.take.hydrate().object_id.startswith("fu-")


@line("0 conventions", "object_id with the prefix of its kind; repr shows how it is made.")
def test_ids_and_representations(app: skerry.App) -> None:
    call: Any = values.take.spawn()
    assert call.object_id.startswith("fc-")
    assert call.get() == "taken"
    assert app.app_id is not None and app.app_id.startswith("ap-")
    assert repr(skerry.Function.from_name("some-app", "some")) == "skerry.Function.from_name('some-app', 'some')"
    assert repr(call) == f"skerry.FunctionCall.from_id({call.object_id!r})"


@line("1 hydration", "A wrong prefix of an id: an error that names the kind.")
def test_id_of_another_kind() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="fc-"):
        skerry.FunctionCall.from_id("fu-" + "0" * 22)


@line("0 conventions", "A blocking call in a running event loop: AsyncUsageWarning.")
def test_blocking_call_in_a_loop() -> None:
    import asyncio

    async def main() -> Any:
        with pytest.warns(skerry.exception.AsyncUsageWarning, match="aio"):
            return values.take.remote()

    assert asyncio.run(main()) == "taken"


@line("0 conventions", "A map that nobody iterates over: a warning when it is collected.")
def test_map_that_nobody_reads() -> None:
    with pytest.warns(RuntimeWarning, match="never iterated"):
        values.take.map([1])
