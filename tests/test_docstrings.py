"""Every public name has a docstring: modules, functions, classes, their methods and properties; numbers say in what they are."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import costmodel

# What says in what a number is: a unit, what is counted, or that it is a ratio.
UNITS = ("FLOP", "B/s", "J ", "elements", "ytes", "econd", "perations", "Evaluations", "How many", "part of", "factors",
         "measured / predicted")


def modules() -> list[ModuleType]:
    """The package's files but those whose name says that they are no other file's business."""
    names = [m.name for m in pkgutil.walk_packages(costmodel.__path__, "costmodel.") if not m.name.split(".")[-1].startswith("_")]
    return [costmodel, *map(importlib.import_module, names)]


def members(owner: type) -> Iterator[tuple[str, Any, str]]:
    """(name, member, docstring) of a class's own public methods and properties; what a class overrides may have it. Functions that
    are a dataclass's defaults are told of by its own docstring."""
    for name, member in vars(owner).items():
        written = inspect.isfunction(_function(member)) and _is_written(member, owner)
        if not written or name.startswith("_") or name in getattr(owner, "__dataclass_fields__", {}):
            continue
        docs = [getattr(vars(base)[name], "__doc__", None) for base in owner.__mro__ if name in vars(base)]
        yield name, member, next(filter(None, docs), "")


def _function(member: Any) -> Any:
    return getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", None) or member


def _is_written(member: Any, owner: type) -> bool:
    """In a file, and not by dataclass or NamedTuple; a protocol's members say no more than its name does."""
    return _function(member).__module__ == owner.__module__ and not getattr(owner, "_is_protocol", False)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(module).items():
        written = (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module.__name__
        if written and not name.startswith("_"):
            yield name, thing


def undocumented(found: list[ModuleType]) -> list[str]:
    lacking = []
    for module in found:
        lacking += [] if module.__doc__ else [module.__name__]
        for name, thing in public(module):
            where = f"{module.__name__}.{name}"
            generated = dataclasses.is_dataclass(thing) and (thing.__doc__ or "").startswith(f"{name}(")
            lacking += [] if thing.__doc__ and not generated else [where]
            if inspect.isclass(thing):
                lacking += [f"{where}.{each}" for each, _, doc in members(thing) if not doc]
    return lacking


def test_every_public_name_has_a_docstring() -> None:
    assert undocumented(modules()) == []


def test_a_number_says_in_what_it_is() -> None:
    """Properties of the results that users read."""
    lacking = []
    for module in modules():
        if not module.__name__.startswith(("costmodel.pricing", "costmodel.solve", "costmodel.cost", "costmodel.hardware.model")):
            continue
        for name, thing in public(module):
            for each, member, doc in members(thing) if inspect.isclass(thing) else ():
                returns = str(getattr(_function(member), "__annotations__", {}).get("return", ""))
                if not inspect.isfunction(member) and returns in ("int", "float", "float | None", "tuple[float, float]", "Expr") \
                        and not any(unit in doc for unit in UNITS):
                    lacking.append(f"{name}.{each}: {doc}")
    assert lacking == []


def test_the_check_can_fail() -> None:
    made = ModuleType("made", "A module.")
    made.Thing = type("Thing", (), {"__module__": "made", "__doc__": "A thing.", "size": property(lambda self: 1)})  # type: ignore
    made.Thing.size.fget.__module__ = "made"
    made.Thing.__module__ = "made"
    assert undocumented([made]) == ["made.Thing.size"]


def test_what_is_public_is_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    named = {line.split(":: ")[1].split(".")[-1] for line in page.splitlines() if line.startswith(".. auto")}
    rest = {"Hardware", "solve"}  # a room, and what stands below its own
    assert {name for name in costmodel.__all__ if name not in rest} <= named
    inner = {"line", "region", "capacity", "rates_of", "seconds_of"}
    assert {name for name in costmodel.solve.__all__ if name.islower()} - inner <= named
