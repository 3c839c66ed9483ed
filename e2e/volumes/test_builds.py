"""Steps of images that have volumes, through a whole skerryd."""

import io
import uuid

import skerry

from e2e.client import client, run_app
from e2e.daemon import Daemon
from e2e.host import left_on_host
from e2e.processes import kill, running


def test_steps_of_images_have_volumes(daemon: Daemon, connected: None) -> None:
    del connected
    tag = uuid.uuid4().hex
    with client(daemon, run_app("volume_image"), {"TAG": tag}) as program:
        output = program.finish()
    assert "left in the image []" in output
    for line in (f"downloaded {tag}", f"weights of {tag}more", "refused: Read-only file system"):
        assert any(line in shown for shown in output), (line, output)
    volume = skerry.Volume.from_name(f"models-{tag}")
    assert b"".join(volume.read_file("deep/weights.bin")).decode() == f"weights of {tag}"
    assert sorted(entry.path for entry in volume.listdir("/", recursive=True)) == ["deep", "deep/more.txt", "deep/weights.bin"]
    # Each step has committed once what it wrote, and the others nothing.
    assert [version.reason for version in volume.history()].count("commit") == 2
    # What a volume holds is no part of what an image is: nothing runs again.
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"other"), "deep/weights.bin")
    with client(daemon, run_app("volume_image"), {"TAG": tag}) as program:
        again = program.finish()
    assert "left in the image []" in again
    assert not any("downloaded" in line for line in again), again
    skerry.Volume.objects.delete(f"models-{tag}")


def _go(tag: str) -> None:
    """Have the step end at its next run."""
    with skerry.Volume.from_name(f"held-{tag}").batch_upload() as batch:
        batch.put_file(io.BytesIO(b""), "go")


def _runs_again(daemon: Daemon, tag: str) -> None:
    """A step that was ended runs at the next build; what it had written is in the volume whole, or not at all."""
    with client(daemon, run_app("held_volume_image"), {"TAG": tag}) as program:
        output = program.finish()
    assert f"  went {tag}" in output and "volume in the image: False" in output, output
    volume = skerry.Volume.from_name(f"held-{tag}")
    found = {entry.path: b"".join(volume.read_file(entry.path)) for entry in volume.listdir("/")}
    assert found.pop("half.txt", b"half\n") == b"half\n"
    assert found == {"go": b""}
    skerry.Volume.objects.delete(f"held-{tag}")


def test_a_step_whose_volumes_are_lost_fails_and_can_be_run_again(daemon: Daemon, connected: None) -> None:
    del connected
    tag = uuid.uuid4().hex
    with client(daemon, run_app("held_volume_image"), {"TAG": tag}) as program:
        program.until(f"  began {tag}")
        _go(tag)
        kill(running(" volumes {", str(daemon.data / "builder")))
        assert program.end() == 1
        # The box around an error breaks its lines.
        text = " ".join("".join(program.seen).replace("│", " ").split())
        assert "ServiceError" in text and "what was written since the last commit is lost" in text and "build it again" in text, text
    _runs_again(daemon, tag)


def test_a_step_with_volumes_runs_again_after_a_kill_of_the_builder(daemon: Daemon, connected: None) -> None:
    del connected
    tag = uuid.uuid4().hex
    with client(daemon, run_app("held_volume_image"), {"TAG": tag}) as program:
        program.until(f"  began {tag}")
        _go(tag)
        daemon.kill()
        daemon.start()
        assert program.end() == 1
    _runs_again(daemon, tag)


def test_what_a_failed_step_has_written_is_committed(daemon: Daemon, connected: None) -> None:
    del connected
    tag = uuid.uuid4().hex
    with client(daemon, run_app("failing_volume_image"), {"TAG": tag}) as program:
        assert program.end() == 1
        assert any("exit code: 3" in line for line in program.seen), program.seen
    assert b"".join(skerry.Volume.from_name(f"failing-{tag}").read_file("kept.txt")) == b"kept\n"
    skerry.Volume.objects.delete(f"failing-{tag}")


def test_a_stop_leaves_nothing_of_a_step_with_volumes(daemon: Daemon, connected: None) -> None:
    del connected
    tag = uuid.uuid4().hex
    try:
        with client(daemon, run_app("held_volume_image"), {"TAG": tag}) as program:
            program.until(f"  began {tag}")
            daemon.stop()
            assert program.end() == 1
        assert left_on_host(daemon) == []
    finally:
        daemon.start()
    skerry.Volume.objects.delete(f"held-{tag}")
