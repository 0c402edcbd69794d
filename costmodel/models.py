"""Named models: what a zoo file declares, and how the command line finds it.

A *zoo* is any package that registers under the entry-point group ``costmodel.models`` a callable returning an iterable of
:class:`ModelEntry`. Our own zoo does exactly that; third parties do the same. Beside that callable its module may have ``named``,
from a name to the entry or None, which need not import every model for one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.finding import attribute, importing, installed, instance
from costmodel.inputs import Input
from costmodel.surface import named
from costmodel.text import did_you_mean
from costmodel.trace.recipe import Recipe

if TYPE_CHECKING:
    from costmodel.solve import Stack

ENTRY_POINT_GROUP = "costmodel.models"


@dataclass(frozen=True)
class Published:
    """A figure that somebody else printed: ``metric`` of the model at the point ``at`` is ``value``, says ``source``.

    ``metric`` is a name of the metrics registry ("params", "macs", "activations", "activations_peak", …). ``value`` is an
    exact integer; ``at`` binds the symbols that the metric depends on (empty for parameters of a fixed architecture).
    """

    metric: str
    value: int
    source: str
    at: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelEntry:
    """A model of a zoo, ready to be analysed symbolically.

    name:      what the command line calls it, e.g. ``resnet50``.
    build:     returns the model (Linen or abstract NNX module, or a plain function). Parameters of ``build`` whose names are
               in ``dims`` receive those symbolic dimensions; all others must have defaults.
    inputs:    one string an input, ``"n,h,w,3:float32"``, or in another form of :class:`~costmodel.inputs.Input`; names become
               symbolic dimensions.
    dims:      names of further symbolic dimensions that only ``build`` uses, space-separated.
    where:     the domain, e.g. ``"32 | h, 32 | w, k <= h"``.
    kwargs:    keyword arguments of the call, e.g. ``{"train": False}``.
    at:        the point that publications quote, e.g. ``{"n": 1, "h": 224, "w": 224}``.
    published: figures to be met exactly; every zoo file has some, with their source.
    params:    for a plain function, which argument holds the parameters (as in ``analyze(..., params=0)``).
    tokens:    for a language model, the symbols whose product is how many tokens a call takes: ``"b s"``. Throughputs are in
               tokens a second then.
    stack:     how it is trained over a mesh, of which :func:`costmodel.solve.plan` makes plans.
    """

    name: str
    build: Callable[..., Any]
    inputs: tuple[str, ...]
    summary: str
    dims: str = ""
    where: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    at: Mapping[str, int] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    params: int | None = None
    tokens: str = ""
    stack: Callable[[], Stack] | None = None

    def make(self) -> tuple[Any, tuple[Any, ...]]:
        """The model and its abstract inputs, over the declared symbolic dimensions."""
        model, inputs, _ = self._make()
        return model, inputs

    def _make(self, others: Iterable[str] = ()) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """The model, its inputs, and other arrays over the same dimensions."""
        given, beside = [Input(text) for text in self.inputs], [Input(text) for text in others]
        made = _dimensions([*self.dims.split(), *(name for each in (*given, *beside) for name in each.names)], self.where)
        wanted = inspect.signature(self.build).parameters
        model = self.build(**{name: dim for name, dim in made.items() if name in wanted})
        return model, tuple(each.over(made) for each in given), tuple(each.over(made) for each in beside)

    def analyze(self, **options: Any) -> Any:
        """The model's :class:`~costmodel.cost.Cost`; options go to :func:`costmodel.analyze`."""
        from costmodel.cost import analyze

        model, inputs = self.make()
        options.setdefault("params", self.params)
        cost = analyze(model, *inputs, kwargs={**self.kwargs, **options.pop("kwargs", {})}, **options)
        cost.name, cost.tokens = self.name, tuple(self.tokens.split())
        return cost

    def analyze_step(self, recipe: Recipe | str, **options: Any) -> Any:
        """The :class:`~costmodel.cost.Cost` of a training step by a recipe, or by the name of its optimizer. Options go to
        :func:`costmodel.analyze_training`."""
        from costmodel.cost import analyze_training

        cost = self._stepped(analyze_training, _recipe(recipe), options)
        cost.name, cost.tokens = f"{self.name}, {_recipe(recipe)}", tuple(self.tokens.split())
        return cost

    def request(self, **options: Any) -> Any:
        """What :meth:`analyze` traces; options go to :func:`costmodel.trace.requests.request`."""
        from costmodel.trace.requests import request

        model, inputs = self.make()
        return request(model, *inputs, kwargs=self.kwargs, params=self.params, **options)

    def step_request(self, recipe: Recipe | str, **options: Any) -> Any:
        """What :meth:`analyze_step` traces; options go to :func:`costmodel.trace.training.training_request`."""
        from costmodel.trace.training import training_request

        return self._stepped(training_request, _recipe(recipe), options)

    def _stepped(self, make: Callable[..., Any], recipe: Recipe, options: dict[str, Any]) -> Any:
        model, inputs, targets = self._make(recipe.targets)
        loss = recipe.loss
        if isinstance(loss, str) and ":" in loss:
            loss = attribute(loss)
            if not callable(loss):
                raise CostModelError(f"--loss {recipe.loss} is no function: give loss(outputs, *targets)")
        options.setdefault("params", self.params)
        kwargs = {name: True if name == "train" else value for name, value in self.kwargs.items()}
        return make(model, *inputs, **replace(recipe, loss=loss, targets=targets).options,
                    kwargs={**kwargs, **options.pop("kwargs", {})}, **options)

    def in_microbatches(self, count: int) -> ModelEntry:
        """The same model where the symbols that inputs begin with are multiples of ``count``, at the next such point."""
        first = {names[0] for text in self.inputs if (names := Input(text).first_dimensions)}
        where = ", ".join([*filter(None, [self.where]), *(f"{count} | {name}" for name in sorted(first))])
        return replace(self, where=where, at={name: -(-value // count) * count if name in first else value
                                              for name, value in self.at.items()})

    def with_inputs(self, inputs: Iterable[str], where: str | None = None, kwargs: Mapping[str, Any] | None = None) -> ModelEntry:
        """The same model called with other inputs, another domain, or other keyword arguments."""
        inputs = tuple(inputs)
        return replace(self, inputs=inputs or self.inputs, where=self.where if where is None else where,
                       kwargs={**self.kwargs, **(kwargs or {})})


def _recipe(given: Recipe | str) -> Recipe:
    return Recipe(optimizer=given) if isinstance(given, str) else given


def _dimensions(names: Iterable[str], where: str) -> dict[str, Any]:
    from costmodel.symbolic.dimensions import dims

    names = list(dict.fromkeys(names))
    if not names:
        return {}
    made = dims(" ".join(names), where=where)
    return dict(zip(names, made if isinstance(made, tuple) else (made,), strict=True))


def zoo() -> dict[str, ModelEntry]:
    """Every model that an installed zoo registers, by name. Raises CostModelError for a name given twice."""
    found: dict[str, ModelEntry] = {}
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        with importing(point.module.split(".")[0], installed()):
            models = point.load()()
        for entry in models:
            if entry.name in found:
                raise CostModelError(f"two zoos register a model called {entry.name!r}; uninstall one of them")
            found[entry.name] = entry
    return found


def model(name: str) -> ModelEntry:
    """A zoo model by name, or ``package.module:attribute`` (a Flax module, a class or a function).

    Raises CostModelError for an unknown name (with the nearest ones), a module that does not import, or an attribute it lacks.
    """
    if ":" in named("model", name, "resnet50"):
        return _attribute(name)
    found = _of_one_zoo(name)
    if found is not None:
        return found
    known = zoo()
    if name not in known:
        raise CostModelError(f"unknown model {name!r}:{did_you_mean(name, known, cutoff=0.4)} `costmodel list` shows all; or give "
                             "package.module:attribute")
    return known[name]


def _of_one_zoo(name: str) -> ModelEntry | None:
    """What the only installed zoo has under a name, where it can tell that without all its models. Names of several zoos are
    compared, for which every model is asked."""
    points = tuple(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))
    if len(points) != 1:
        return None
    module = points[0].module
    with importing(module.split(".")[0], installed()):
        named = getattr(importlib.import_module(module), "named", None)
        return None if named is None else named(name)


def _attribute(name: str) -> ModelEntry:
    found = attribute(name)
    if isinstance(found, ModelEntry):
        return found
    model = instance(found, name)
    return ModelEntry(name.partition(":")[2], lambda: model, (), f"from {name}")
