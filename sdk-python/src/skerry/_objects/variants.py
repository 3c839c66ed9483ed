"""Functions and classes with options other than those of their definition."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from typing_extensions import Self

    from skerry._volume.volume import Volume
    from skerry.retries import Retries

    from .bucket import CloudBucketMount
    from .secret import Secret


class Variants:
    """The part of a :class:`Function` or :class:`Cls` that gives variants of it, each with containers of its own."""

    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: float | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
    ) -> Self:
        """Return it with other options, and containers of its own. Can be repeated: what is given later wins.

        Args:
            cpu: cores wanted, or (wanted, most).
            memory: MiB wanted, or (wanted, most).
            gpu: not available yet.
            env: more environment variables, beside those of the secrets.
            secrets: instead of all the secrets of the definition.
            volumes: instead of all that the definition mounts.
            retries: how often a failed input is run again.
            max_containers: most containers.
            buffer_containers: idle containers kept ready while there is work.
            scaledown_window: seconds an idle container is kept.
            timeout: most seconds per attempt of an input.
            region: where containers may be.
            cloud: the cloud they are to be in.
            routing_region: not available yet.

        Options that are None or empty stay as they are. Raises InvalidError for values that make no sense, UnimplementedError for what is
        not available yet.
        """
        given = {
            "cpu": cpu,
            "memory": memory,
            "gpu": gpu,
            "env": env,
            "secrets": secrets,
            "volumes": volumes,
            "retries": retries,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "timeout": timeout,
            "region": region,
            "cloud": cloud,
            "routing_region": routing_region,
        }
        return self._with({name: value for name, value in given.items() if value is not None})

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Self:
        """Return it with another number of inputs at a time, and containers of its own."""
        from .partial import Concurrency

        return self._with({"concurrency": Concurrency(max_inputs, target_inputs)})

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Self:
        """Return it with batches of another size, and containers of its own."""
        from .partial import Batching

        return self._with({"batching": Batching(max_batch_size, wait_ms)})

    def _with(self, options: dict[str, Any]) -> Self:
        raise NotImplementedError
