"""What the reference surface has and a later version of Skerry brings: it can be imported, and says so where it is used."""

from __future__ import annotations

from .exception import UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Later(type):
    """The type of what is not there yet: a class, so that isinstance() can ask for it, of which nothing else can be done."""

    def __call__(cls, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise UnimplementedError(f"skerry.{cls.__name__} is not available in this version of skerry yet")

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnimplementedError(f"skerry.{cls.__name__}.{name} is not available in this version of skerry yet")

    def __getitem__(cls, _parameters: object) -> type:
        return cls  # in an annotation

    def __repr__(cls) -> str:
        return f"<skerry.{cls.__name__}, which is not available yet>"


def later(name: str) -> type:
    """Return a stand-in for skerry.<name>. To call it, or to use an attribute of it, raises UnimplementedError."""
    return _Later(
        name,
        (),
        {"__module__": "skerry", "__doc__": f"Not available yet: using skerry.{name} raises UnimplementedError."},
    )
