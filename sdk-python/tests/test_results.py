"""What a result becomes in the caller."""

from __future__ import annotations

import linecache
import pickle
import threading
import traceback

import cloudpickle
import pytest
from protobuf import Oneof

from skerry import _cbor
from skerry import exception as exc
from skerry._client.blobs import inline_payload
from skerry._client.results import failure, unwrap
from skerry._client.serialization import deserialize, serialize
from skerry._gen.skerry.v1.payload_pb import Payload, PayloadFormat, RemoteError, Result, ResultStatus

FILE = "<ta-0123456789abcdefghijkl>:/root/work.py"
FRAMES = {
    "tb_frame": {"f_globals": {"__name__": "work"}, "f_code": {"co_filename": FILE, "co_name": "work"}, "f_lineno": 7},
    "tb_lineno": 7,
    "tb_next": None,
}


class CustomError(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.a, self.b = a, b


def failed(error, **more):
    chain = {"exc": error, "tb": FRAMES, "lines": {(FILE, 7): "    raise it"}, "cause": None, "context": None, **more}
    words = RemoteError(
        type="x.Y", message=str(error), traceback="TRACE", exception=inline_payload(cloudpickle.dumps(chain, 4))
    )
    return Result(status=ResultStatus.FAILURE, error=words)


def test_value(client):
    assert unwrap(client, Result(status=ResultStatus.SUCCESS, value=inline_payload(pickle.dumps([1]))), "f") == [1]
    assert unwrap(client, Result(status=ResultStatus.SUCCESS), "f") is None


def plain(value):
    return Payload(format=PayloadFormat.CBOR, content=Oneof("inline", _cbor.dumps(value)))


def test_outcomes_of_calls_that_other_languages_made(client):
    assert unwrap(client, Result(status=ResultStatus.SUCCESS, value=plain({"a": [1]})), "f") == {"a": [1]}
    wrong = Payload(format=PayloadFormat.CBOR, content=Oneof("inline", b"\xff"))
    with pytest.raises(exc.DeserializationError):
        unwrap(client, Result(status=ResultStatus.SUCCESS, value=wrong), "f")
    for error, kind in ((KeyError("a"), KeyError), (CustomError(1, 2), exc.RemoteError)):
        words = RemoteError(type="x.Y", message="no", traceback="TRACE", exception=plain(error))
        with pytest.raises(kind) as caught:
            unwrap(client, Result(status=ResultStatus.FAILURE, error=words), "f")
        assert "TRACE" in "".join(traceback.format_exception(caught.value))


def test_exception_keeps_type_attributes_and_remote_frames(client):
    with pytest.raises(CustomError) as caught:
        unwrap(client, failed(CustomError(1, 2)), "f")
    assert (caught.value.a, caught.value.b) == (1, 2)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (frames[-1].filename, frames[-1].lineno, frames[-1].name) == (FILE, 7, "work")
    assert frames[-1].line == "raise it"
    assert "raise it" in "".join(traceback.format_exception(caught.value))
    linecache.checkcache()
    assert linecache.getline(FILE, 7) == "    raise it\n"


def test_causes_are_kept(client):
    cause = {"exc": KeyError("k"), "tb": FRAMES, "lines": {}, "cause": None, "context": None, "suppress_context": False}
    error = failure(client, failed(ValueError("v"), cause=cause, context=cause, suppress_context=True), "f")
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    assert error.__suppress_context__
    context = failure(client, failed(ValueError("v"), context=cause, suppress_context=False), "f")
    assert isinstance(context.__context__, KeyError)
    assert context.__cause__ is None
    assert not context.__suppress_context__


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (ResultStatus.TIMEOUT, exc.FunctionTimeoutError),
        (ResultStatus.INTERNAL_FAILURE, exc.InternalFailure),
        (ResultStatus.CANCELLED, exc.RemoteError),
        (ResultStatus.OUT_OF_MEMORY, exc.RemoteError),
        (ResultStatus.START_FAILURE, exc.RemoteError),
        (ResultStatus.FAILURE, exc.RemoteError),
    ],
)
def test_statuses(client, status, kind):
    with pytest.raises(kind, match="what happened"):
        unwrap(client, Result(status=status, error=RemoteError(message="what happened")), "f")


def test_exception_that_could_not_be_pickled_is_told_in_words(client):
    words = RemoteError(type="lib.Strange", message="boom", traceback="Traceback: x")
    with pytest.raises(exc.SerializationError, match=r"(?s)lib.Strange: boom.*Traceback: x"):
        unwrap(client, Result(status=ResultStatus.FAILURE, error=words), "f")


def test_exception_that_can_not_be_unpickled_here_is_told_in_words(client):
    words = RemoteError(
        type="gone.Error", message="boom", traceback="TRACE", exception=inline_payload(b"cgone\nError\n.")
    )
    with pytest.raises(exc.ExecutionError, match=r"(?s)Could not deserialize.*gone.*boom.*TRACE"):
        unwrap(client, Result(status=ResultStatus.FAILURE, error=words), "f")
    words.exception = inline_payload(pickle.dumps("no exception"))
    with pytest.raises(exc.ExecutionError, match="boom"):
        unwrap(client, Result(status=ResultStatus.FAILURE, error=words), "f")


def test_remote_exit_does_not_end_the_caller(client):
    with pytest.raises(exc.RemoteError, match=r"SystemExit: 4") as caught:
        unwrap(client, failed(SystemExit(4)), "f")
    assert isinstance(caught.value.__cause__, SystemExit)


def test_hints(client):
    error = failure(client, failed(ImportError("attempted relative import with no known parent package")), "f")
    assert "-m" in "".join(traceback.format_exception(error)) + str(error)


def test_hints_at_modules_that_are_here_alone(client, tmp_path, monkeypatch):
    (tmp_path / "helper_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name, hint in (
        ("helper_of_mine", "image.add_local_python_source('helper_of_mine')"),
        ("pytest.part", "image.pip_install"),
        ("nowhere", None),
    ):
        error = failure(client, failed(ModuleNotFoundError(f"No module named {name!r}", name=name)), "f")
        text = "".join(traceback.format_exception(error)) + str(error)
        assert (hint in text) if hint else ("hint" not in text)


def test_missing_module_is_named(client, monkeypatch):
    with pytest.raises(exc.DeserializationError, match=r"'gone'.*local environment"):
        deserialize(b"cgone\nThing\n.")
    result = Result(status=ResultStatus.SUCCESS, value=inline_payload(b"cgone\nThing\n."))
    with pytest.raises(exc.ExecutionError, match=r"the result of f.*'gone'.*local environment"):
        unwrap(client, result, "f")
    with monkeypatch.context() as container:
        container.setenv("SKERRY_IS_REMOTE", "1")
        with pytest.raises(exc.DeserializationError, match=r"'gone'.*remote environment"):
            deserialize(b"cgone\nThing\n.")
    with pytest.raises(exc.DeserializationError, match="same versions of the library"):
        deserialize(b"cpickle\nNothing\n.")
    with pytest.raises(exc.DeserializationError, match="UnpicklingError"):
        deserialize(b"nonsense")


def test_serialize():
    data = serialize(((1,), {}))
    assert data[:2] == b"\x80\x04"
    assert deserialize(serialize(lambda x: x + 1))(1) == 2
    with pytest.raises(exc.SerializationError, match="the thing"):
        serialize(threading.Lock(), "the thing")
