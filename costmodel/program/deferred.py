"""A request that is made when it is first needed: a cost from the cache has its program and not its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from costmodel.rules import Rule, registered

if TYPE_CHECKING:
    from costmodel.trace.requests import Traceable


class Deferred:
    """What ``make`` gives once it is asked for anything: the model is imported then, and jax with it."""

    def __init__(self, make: Callable[[], Traceable]) -> None:
        self._make = make

    @cached_property
    def made(self) -> Traceable:
        """The request itself."""
        return self._make()

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """The rules once the model is there: its files may register some."""
        _ = self.made
        return registered()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)
