"""Rules by which parameters are sharded, as one types them: which parameters, and the axis of each of their dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean


@dataclass(frozen=True)
class Rule:
    """``pattern`` is a parameter's path, in which * stands for anything, or the name of a logical axis in Flax's metadata; ``axes``
    the mesh's axes of each dimension, () for none."""

    pattern: str
    axes: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.pattern}={','.join('+'.join(entry) or '-' for entry in self.axes)}"

    @property
    def partition(self) -> Any:
        """The axes as a ``PartitionSpec``."""
        from jax.sharding import PartitionSpec

        return PartitionSpec(*map(_entry, self.axes))


@dataclass(frozen=True)
class Rules:
    """The first rule that names a parameter says how it is sharded; else its logical axes do, the first rule before the
    others, where the array is not sharded along its axes yet; a parameter of which neither is said is whole on every device."""

    rules: tuple[Rule, ...]

    def spread(self, paths: Sequence[str], ranks: Sequence[int], stated: Sequence[Any]) -> list[Any]:
        """A partition for each parameter, by its path, its rank and the names that its metadata states of its dimensions (None for
        none). Raises CostModelError for a rule that is of nothing, and for one of more dimensions than a parameter has."""
        found: list[Any] = []
        used: set[Rule] = set()
        for path, rank, names in zip(paths, ranks, stated, strict=True):
            rule = next((rule for rule in self.rules if fnmatchcase(path, rule.pattern)), None)
            if rule is None:
                found.append(self._by_names(names or (), used))
                continue
            used |= {each for each in self.rules if fnmatchcase(path, each.pattern)}
            if len(rule.axes) > rank:
                raise CostModelError(f"--shard-rules {str(rule)!r} is of {len(rule.axes)} dimensions, and {path} has {rank}")
            found.append(rule.partition)
        unused = [rule for rule in self.rules if rule not in used]
        if unused:
            known = sorted({*paths, *(name for names in stated for name in _flat(names))})
            raise CostModelError(f"--shard-rules {str(unused[0])!r} is of no parameter and of no logical axis;"
                                 f"{did_you_mean(unused[0].pattern, known, cutoff=0.4)} there are "
                                 f"{', '.join(known[:4])}{' …' if len(known) > 4 else ''}")
        return found

    def _by_names(self, names: Sequence[Any], used: set[Rule]) -> Any:
        """The partition of an array of logical axes, as Flax has it; a name without a rule is an axis of the mesh."""
        if not _flat(names):
            return partition("-")
        from flax import linen

        of_it = [rule for rule in self.rules if rule.pattern in _flat(names)]
        used |= set(of_it)
        if long := [rule for rule in of_it if len(rule.axes) > 1]:
            raise CostModelError(f"--shard-rules {str(long[0])!r}: {long[0].pattern} is one dimension; join axes as data+model")
        ruled = [(rule.pattern, _entry(rule.axes[0])) for rule in of_it]
        ruled += [(name, name) for name in _flat(names) if name not in {rule.pattern for rule in of_it}]
        try:
            return linen.logical_to_mesh_axes(names, ruled)
        except ValueError as error:
            raise CostModelError(f"--shard-rules: {' '.join(str(error).split())[:200]}") from error


def rules(texts: Sequence[str]) -> Rules:
    """Rules from their texts, several in one with ; between.

    >>> print(*rules(["*/up/kernel=-,model; embed=data+model"]).rules)
    */up/kernel=-,model embed=data+model

    Raises CostModelError for what is not of this form.
    """
    return Rules(tuple(_rule(part.strip()) for text in texts for part in text.split(";") if part.strip() or text.strip() == ""))


def partition(text: str, option: str = "--shard") -> Any:
    """``data,-`` as a partition: the first dimension along the axis data, the second along none; ``pod+model``
    along both.

    >>> tuple(partition("data,-,pod+model"))
    ('data', None, ('pod', 'model'))
    """
    return Rule("", _axes(text, option, text)).partition


def _rule(text: str) -> Rule:
    pattern, equals, axes = (part.strip() for part in text.partition("="))
    if not pattern or not equals or not axes or "=" in axes:
        raise CostModelError(f"--shard-rules {text!r} is not of the form PATTERN=AXIS,…; write e.g. "
                             "--shard-rules '*/up/kernel=-,model; */down/kernel=model,-'")
    return Rule(pattern, _axes(axes, "--shard-rules", text))


def _axes(text: str, option: str, whole: str) -> tuple[tuple[str, ...], ...]:
    entries = tuple(() if entry.strip() == "-" else tuple(axis.strip() for axis in entry.split("+")) for entry in text.split(","))
    flat = [axis for entry in entries for axis in entry]
    for axis in flat:
        if not axis.isidentifier():
            raise CostModelError(f"{option} {whole!r}: {axis!r} is no name of an axis; write data, data+model, or - for none")
    twice = sorted({axis for axis in flat if flat.count(axis) > 1})
    if twice:
        raise CostModelError(f"{option} {whole!r} shards two dimensions along {twice[0]}; an axis is of one dimension")
    return entries


def _entry(axes: tuple[str, ...]) -> Any:
    return None if not axes else axes[0] if len(axes) == 1 else axes


def _flat(names: Any) -> tuple[str, ...]:
    """The names in a partition's entries."""
    return tuple(name for entry in names or () if entry is not None
                 for name in (entry if isinstance(entry, tuple) else (entry,)) if isinstance(name, str))
