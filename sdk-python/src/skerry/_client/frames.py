"""What a session sends: frames of calls, gathered into request messages as large as what there is to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.call_pb import ItemsSeen, SessionRequest, Submit, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry._gen.skerry.v1.call_pb import Input

    from .outstanding import Call

# Bounds of one request message.
MAX_FRAME_BYTES = 1 << 20
MAX_FRAME_INPUTS = 1000


class Frame:
    """Something to send: inputs of a call, its Watch (no inputs), or only the releases that wait (no call)."""

    __slots__ = ("call", "inputs", "resumed", "seen", "size")

    def __init__(self, call: Call | None, inputs: list[Input], *, resumed: bool = False, seen: int = 0) -> None:
        self.call = call
        self.inputs = inputs
        self.resumed = resumed
        self.seen = seen  # not 0: items of a generator that were read, and nothing else
        self.size = sum(map(_size, inputs))

    def take(self, item: Input) -> bool:
        """Take another input. False if it has to go into another frame."""
        size = self.size + _size(item)
        if size > MAX_FRAME_BYTES or len(self.inputs) >= MAX_FRAME_INPUTS:
            return False
        self.inputs.append(item)
        self.size = size
        return True


class Request:
    """A request message in the making."""

    __slots__ = ("_frames", "_inputs", "_size")

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._inputs = 0
        self._size = 0

    def add(self, frame: Frame) -> bool:
        """Take a frame. False if it has to go into the next message."""
        count = len(frame.inputs)
        full = self._inputs + count > MAX_FRAME_INPUTS or self._size + frame.size > MAX_FRAME_BYTES
        if full and self._frames:
            return False
        self._frames.append(frame)
        self._inputs += count
        self._size += frame.size
        return True

    def messages(self, released: list[str]) -> Iterator[SessionRequest]:
        """Return the message. A frame that is too large alone, after a resumption, becomes several."""
        if len(self._frames) == 1 and self._size > MAX_FRAME_BYTES:
            yield from _split(self._frames[0])
            self._frames = []
        submits: dict[tuple[str, bool], Submit] = {}
        watches: list[Watch] = []
        seen: list[ItemsSeen] = []
        for frame in self._frames:
            if frame.call is None:
                continue
            if frame.seen:
                seen.append(ItemsSeen(call_id=frame.call.call_id, index=0, count=frame.seen))
                continue
            if not frame.inputs:
                if (watch := frame.call.watch()) is not None:
                    watches.append(watch)
                continue
            key = (frame.call.call_id, frame.resumed)
            if (submit := submits.get(key)) is not None:
                submit.inputs.extend(frame.inputs)
            else:
                submits[key] = _submit(frame, frame.inputs)
        if submits or watches or released or seen:
            yield SessionRequest(
                submits=list(submits.values()), watches=watches, released_call_ids=released, items_seen=seen
            )


def _split(frame: Frame) -> Iterator[SessionRequest]:
    part: list[Input] = []
    size = 0
    for item in frame.inputs:
        if part and size + _size(item) > MAX_FRAME_BYTES:
            yield SessionRequest(submits=[_submit(frame, part)])
            part, size = [], 0
        part.append(item)
        size += _size(item)
    yield SessionRequest(submits=[_submit(frame, part)])


def _submit(frame: Frame, inputs: list[Input]) -> Submit:
    assert frame.call is not None  # noqa: S101 - only frames with a call have inputs
    return Submit(
        call_id=frame.call.call_id,
        function_id=frame.call.function_id,
        kind=frame.call.kind,
        inputs=list(inputs),
        resumed=frame.resumed,
        parent_input_id=frame.call.parent,
    )


def _size(item: Input) -> int:
    content = item.args.content  # pyright: ignore[reportOptionalMemberAccess] - every input has arguments
    return len(content.value) + 32 if content is not None and content.field == "inline" else 128
