"""Fields of the request or task at hand: bound once, on every event that is emitted within.

They live in a context variable (PEP 567): an asyncio task has those of where it was created, a thread begins without any, unless it runs
in ``contextvars.copy_context()``. Emitting reads them where ``emit()`` is called; what the call names itself wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from typing import Any

from .._core import bound_fields

# bound_fields is what emit() reads, in C. The dict is never changed, only replaced.
NOTHING: dict[str, Any] = {}


def bound() -> dict[str, Any]:
    """The fields that are bound here; a copy."""
    return dict(bound_fields.get(NOTHING))


def bind(**fields: Any) -> Token[dict[str, Any]]:
    """Add fields to every event emitted from here on, in this task or thread; ``unbind(token)`` takes them back."""
    return bound_fields.set({**bound_fields.get(NOTHING), **fields})


def unbind(token_or_name: Token[dict[str, Any]] | str, *names: str) -> None:
    """Undo one ``bind()`` by what it returned, or take fields away by name; names that are not bound are passed over."""
    if isinstance(token_or_name, str):
        gone = {token_or_name, *names}
        bound_fields.set({k: v for k, v in bound_fields.get(NOTHING).items() if k not in gone})
    else:
        bound_fields.reset(token_or_name)


def clear_bound() -> None:
    """Take all fields away, in this task or thread."""
    bound_fields.set({})


@contextmanager
def binding(**fields: Any) -> Iterator[None]:
    """``with binding(order=42): …``: fields for the events emitted inside."""
    token = bind(**fields)
    try:
        yield
    finally:
        bound_fields.reset(token)
