"""What the arguments of the command line mean: a model, its call, a point, and the point to verify it at.

All text is parsed as data; nothing is evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from costmodel.cache.derivations import Cache, Derived
from costmodel.cost import Cost, CostAt
from costmodel.errors import CostModelError, RankError, TraceError
from costmodel.finding import FOLDERS
from costmodel.inputs import Input
from costmodel.models import ModelEntry, model
from costmodel.points import inside, sample_points
from costmodel.surface import remark
from costmodel.trace.recipe import Recipe


@dataclass(frozen=True)
class Asked:
    """What the user typed: a model, and the options by their names (``points`` are ``--at``, ``keywords`` are ``--kw``)."""

    model: str
    inputs: tuple[str, ...] = ()
    where: str | None = None
    keywords: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    verify: bool = True
    rngs: tuple[str, ...] = ()
    mutable: tuple[str, ...] = ()
    fit: str = "auto"
    skip_masked: bool = False
    mesh: str | None = None
    shards: tuple[str, ...] = ()
    shard_rules: tuple[str, ...] = ()
    params: int | None = None
    cache: Cache = field(default_factory=lambda: Cache(used=False))

    def answer(self, quoted: bool | None = False, train: Recipe | str | None = None) -> Answer:
        """Analyse, and verify if asked to. ``quoted``: a point is needed; without ``--at`` it is the one that publications quote,
        which with None is taken where there is one.
        ``train``: a training step by a recipe in texts, or with this optimizer.

        On stderr it is said where the figures are one device's. Raises CostModelError, saying what to type instead, for anything
        that is malformed, unknown or outside the domain.
        """
        given = point(self.points)
        train = Recipe(optimizer=train) if isinstance(train, str) else train
        derived = self.cache.get(self._said(train), lambda: self._derive(train), lambda: self._request(train))
        cost = derived.cost
        if quoted is not False and not self.points and set(derived.at) == set(cost.symbols) - set(cost.domain.defaults):
            # Where no point is needed it must hold: one example is not shared by the devices of a mesh.
            given = dict(derived.at) if quoted or inside(cost.domain, derived.at) else {}
        if given or quoted:
            cost.domain.bind(given)
        verified = _verify(cost, derived.at, given) if self.verify else ""
        self.cache.keep()
        if cost.mesh is not None:
            remark(f"figures are of one device of the mesh {cost.mesh}")
        return Answer(cost.skip_masked() if self.skip_masked else cost, given, verified, derived.at)

    def _said(self, train: Recipe | None) -> dict[str, Any]:
        """All of it that a derivation depends on."""
        given = [*map(Input, self.inputs), *map(Input, train.targets if train else ())]
        users = ":" in self.model or any(each.factory for each in given) or (train is not None and ":" in str(train.loss))
        own = (os.getcwd(), os.environ.get(FOLDERS, "")) if users else ()
        return {"model": self.model, "inputs": [each.said for each in given], "where": self.where, "keywords": self.keywords,
                "rngs": self.rngs, "mutable": self.mutable, "fit": self.fit, "mesh": self.mesh, "shards": self.shards,
                "shard_rules": self.shard_rules, "params": self.params, "train": train and asdict(train), "folders": own}

    def _entry(self, train: Recipe | None = None) -> ModelEntry:
        entry = model(self.model).with_inputs(self.inputs, self.where, keywords(self.keywords))
        if not entry.inputs:
            raise CostModelError(f"{self.model} does not say what it is called with: give an --input for each argument, such as "
                                 "--input 'n,h,w,3:float32'")
        if self.params is not None:
            entry = replace(entry, params=self.params)
        return entry.in_microbatches(train.microbatches) if train and train.microbatches > 1 else entry

    def _derive(self, train: Recipe | None) -> Derived:
        entry = self._entry(train)
        over = self._over("data_sharding" if train else "in_shardings")
        try:
            if train:
                cost = entry.analyze_step(train, rngs=self.rngs, fit=self.fit, **over)
            else:
                cost = entry.analyze(rngs=self.rngs, mutable=self.mutable or False, fit=self.fit, **over)
        except RankError as error:
            if not self.shards or not error.argument.startswith(("in_shardings", "targets")):
                raise  # the model itself says it
            raise CostModelError(error.told(f"--shard {' '.join(self.shards)!r}")) from error
        except TraceError as error:
            raise TraceError(f"{error}; check --input, --where, --kw, --rng and --mutable") from error
        return Derived(cost, entry.at)

    def _request(self, train: Recipe | None) -> Any:
        """What the derivation traced."""
        if train:
            return self._entry(train).step_request(train, rngs=self.rngs)
        return self._entry().request(rngs=self.rngs, mutable=self.mutable or False)

    def _over(self, what: str) -> dict[str, Any]:
        """The mesh and the partitions of inputs and parameters, as options of an analysis."""
        if self.mesh is None:
            if self.shards or self.shard_rules:
                option = "--shard" if self.shards else "--shard-rules"
                raise CostModelError(f"{option} needs a mesh: give --mesh, e.g. --mesh data=8,model=4")
            return {}
        from costmodel.sharding.rules import partition, rules

        partitions = tuple(map(partition, self.shards))
        return {"mesh": point((self.mesh,), "--mesh"), what: partitions[0] if len(partitions) == 1 else partitions or None,
                "param_shardings": rules(self.shard_rules) if self.shard_rules else None}


@dataclass(frozen=True)
class Answer:
    """A cost, the point asked for (empty for none), the line that says how it was verified (empty if it was not to be), and the
    point that publications quote."""

    cost: Cost
    at: Mapping[str, int]
    verified: str
    quoted: Mapping[str, int]

    @cached_property
    def result(self) -> Cost | CostAt:
        """The cost at the point, or the symbolic one."""
        return self.cost.at(**self.at) if self.at else self.cost

    def retyped(self, dtype: str | None) -> Answer:
        """The same with other types, as --dtype says them; None for those of the trace."""
        return replace(self, cost=self.cost.reprice(dtype=dtype)) if dtype else self

    @property
    def at_text(self) -> str:
        """The point as text: "n=1, h=224"."""
        return _text(self.at)


def keyword(text: str) -> tuple[str, Any]:
    """``train=false`` as a name and a value: true, false, none, an integer, a number, or else the text itself.

    >>> keyword("train=False"), keyword("rate=0.5"), keyword("mode=same")
    (('train', False), ('rate', 0.5), ('mode', 'same'))
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise CostModelError(f"--kw {text!r} is not of the form NAME=VALUE; write e.g. --kw train=false")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def keywords(texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of a call, each given once."""
    found: dict[str, Any] = {}
    for name, value in map(keyword, texts):
        if name in found:
            raise CostModelError(f"--kw gives {name} twice; give it one value")
        found[name] = value
    return found


_SHOWN = {"--at": "--at n=1,h=224,w=224", "--mesh": "--mesh data=8,model=4"}


def point(texts: tuple[str, ...], option: str = "--at") -> dict[str, int]:
    """The values that ``--at`` gives, or another option of its form.

    >>> point(("n=1,h=224", "w=224"))
    {'n': 1, 'h': 224, 'w': 224}
    """
    values: dict[str, int] = {}
    for text in (part.strip() for given in texts for part in given.split(",")):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier():
            raise CostModelError(f"{option} {text!r} is not of the form NAME=INT; write e.g. {_SHOWN[option]}")
        if name in values:
            raise CostModelError(f"{option} gives {name} twice; give each symbol one value")
        try:
            values[name] = int(value)
        except ValueError:
            raise CostModelError(f"{option} {text!r}: {value!r} is not an integer; write e.g. {_SHOWN[option]}") from None
    return values


def _verify(cost: Cost, quoted: Mapping[str, int], given: Mapping[str, int]) -> str:
    """Verify at the given point, else at the model's own, else at the first point of the domain at which the model runs."""
    if not cost.symbols:
        return "traced with integers only: there is no closed form to verify"
    refusal = "no small point satisfies its constraints"
    for values in [given] if given else _candidates(cost, quoted):
        try:
            if cost.program_of(cost.at(**values).formulas):
                return f"verified against a concrete trace at {_text(values)}"
            return f"another program than with symbols at {_text(values)}: figures there are the concrete program's"
        except TraceError as error:
            if given:
                raise
            refusal = f"at {_text(values)}: {error}"
    return f"NOT verified ({refusal}); give a point with --at"


def _candidates(cost: Cost, quoted: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    if inside(cost.domain, quoted):
        yield quoted
    if cost.fitted is not None:  # as deep as the sample, not as deep as a middling size
        yield from cost.fitted.verified
    yield from sample_points(cost.domain)


def _text(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
