"""Inputs that are spawned many at a time: ``.spawn_map`` and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._client.spawning import Spawner, spawn_all, spawn_all_aio

from .call import FunctionCall
from .inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from typing import Any

    from .function import Function

    Sources = tuple[Iterable[Any] | AsyncIterable[Any], ...]


def spawn_each(function: Function[..., Any], sources: Sources, kwargs: dict[str, Any] | None) -> None:
    """Spawn one call for each element; returns when all are recorded."""
    function._refuse_in_loop("spawn_map")
    client, function_id = function._ready_for(generator=False)
    spawner = Spawner(client, function_id, function.name, function._method, together=False)
    spawn_all(spawner, Inputs(sources, kwargs).draw())


async def spawn_each_aio(function: Function[..., Any], sources: Sources, kwargs: dict[str, Any] | None) -> None:
    """Do the same without blocking the event loop, which draws the elements."""
    client, function_id = await function._ready_for_aio(generator=False)
    spawner = Spawner(client, function_id, function.name, function._method, together=False)
    await spawn_all_aio(spawner, Inputs(sources, kwargs).draw_aio())


def spawn_together(function: Function[..., Any], sources: Sources, kwargs: dict[str, Any] | None) -> FunctionCall[Any]:
    """Spawn one call of all elements; returns its handle when all are recorded."""
    function._refuse_in_loop("experimental_spawn_map")
    client, function_id = function._ready_for(generator=False)
    spawner = Spawner(client, function_id, function.name, function._method, together=True)
    spawn_all(spawner, Inputs(sources, kwargs).draw())
    return FunctionCall(spawner.call_id, client)


async def spawn_together_aio(
    function: Function[..., Any], sources: Sources, kwargs: dict[str, Any] | None
) -> FunctionCall[Any]:
    """Do the same without blocking the event loop, which draws the elements."""
    client, function_id = await function._ready_for_aio(generator=False)
    spawner = Spawner(client, function_id, function.name, function._method, together=True)
    await spawn_all_aio(spawner, Inputs(sources, kwargs).draw_aio())
    return FunctionCall(spawner.call_id, client)
