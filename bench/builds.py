"""What builds cost: one that has nothing to do, one changed layer, and build steps in gVisor beside those on the host's kernel."""

import itertools
import json
import uuid

import skerry

from bench.timing import repeat

_numbers = itertools.count()
_run = uuid.uuid4().hex

# Reads and writes a few hundred files, starts processes and computes: what installers do, without a network.
_WORK = "for i in 1 2 3; do cp -r /usr/lib/python3.11 /tmp/lib && python -m compileall -q -f /tmp/lib; rm -r /tmp/lib; done"
_STEPS = 10


def nothing() -> None:
    """What the images are for."""


def _image(*commands: str) -> skerry.Image:
    image = skerry.Image.debian_slim()
    for command in commands:
        image = image.run_commands(command)
    return image


def _new(command: str) -> str:
    """The command in words that no build had before."""
    return f"{command} # {_run} {next(_numbers)}"


def _build(image: skerry.Image) -> None:
    app = skerry.App("bench-builds")
    app.function(image=image)(nothing)
    with app.run():
        pass


def _nothing_at_all() -> None:
    """What an app costs that has no image."""
    with skerry.App("bench-builds").run():
        pass


def main() -> None:
    """Measure and print."""
    layers = [_new("true") for _ in range(5)]
    _build(_image(*layers))

    def change_one() -> None:
        _build(_image(*layers[:3], _new("true"), layers[4]))

    def steps() -> None:
        _build(_image(*(_new("true") for _ in range(1 + _STEPS))))

    def work() -> None:
        _build(_image(_new(_WORK)))

    # What a build costs beside its steps, most of it storing the image, is taken off.
    one = repeat(lambda: _build(_image(_new("true"))), times=5, warmup=1).p50
    print(
        json.dumps(
            {
                "bare_ms": repeat(_nothing_at_all, times=10, warmup=2).p50,
                "no_op_ms": repeat(lambda: _build(_image(*layers)), times=10, warmup=2).p50,
                "one_layer_ms": repeat(change_one, times=5, warmup=1).p50,
                "one_step_ms": one,
                "step_ms": (repeat(steps, times=5, warmup=0).p50 - one) / _STEPS,
                "work_ms": repeat(work, times=3, warmup=1).p50 - one,
            }
        )
    )


if __name__ == "__main__":
    main()
