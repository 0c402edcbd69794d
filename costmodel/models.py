"""Named models: what a zoo file declares, and how the command line finds it.

A *zoo* is any package that registers under the entry-point group ``costmodel.models`` a callable returning an iterable of
:class:`ModelEntry`. Our own zoo does exactly that; third parties do the same. Beside that callable its module may have ``named``,
from a name to the entry or None, which need not import every model for one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean

if TYPE_CHECKING:
    from costmodel.solve import Stack

ENTRY_POINT_GROUP = "costmodel.models"
FOLDERS = "COSTMODEL_MODELS"  # an environment variable: where package.module:attribute is looked for after the working directory


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
    inputs:    one string an input, ``"n,h,w,3:float32"``; names become symbolic dimensions.
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
        made = _dimensions([self.dims, *(_parse_input(text)[0] for text in self.inputs)], self.where)
        wanted = inspect.signature(self.build).parameters
        model = self.build(**{name: dim for name, dim in made.items() if name in wanted})
        return model, tuple(input_spec(text, made) for text in self.inputs)

    def analyze(self, **options: Any) -> Any:
        """The model's :class:`~costmodel.cost.Cost`; options go to :func:`costmodel.analyze`."""
        from costmodel.cost import analyze

        model, inputs = self.make()
        options.setdefault("params", self.params)
        cost = analyze(model, *inputs, kwargs={**self.kwargs, **options.pop("kwargs", {})}, **options)
        cost.name, cost.tokens = self.name, tuple(self.tokens.split())
        return cost

    def analyze_step(self, optimizer: str, **options: Any) -> Any:
        """The :class:`~costmodel.cost.Cost` of a training step with optax's ``sgd`` (with momentum) or ``adamw``; the loss is the
        mean of squares of the model's first result. Options go to :func:`costmodel.analyze_training`."""
        from costmodel.cost import analyze_training

        cost = self._stepped(analyze_training, optimizer, options)
        cost.name, cost.tokens = f"{self.name}, {optimizer} step", tuple(self.tokens.split())
        return cost

    def request(self, **options: Any) -> Any:
        """What :meth:`analyze` traces; options go to :func:`costmodel.trace.requests.request`."""
        from costmodel.trace.requests import request

        model, inputs = self.make()
        return request(model, *inputs, kwargs=self.kwargs, params=self.params, **options)

    def step_request(self, optimizer: str, **options: Any) -> Any:
        """What :meth:`analyze_step` traces; options go to :func:`costmodel.trace.training.training_request`."""
        from costmodel.trace.training import training_request

        return self._stepped(training_request, optimizer, options)

    def _stepped(self, make: Callable[..., Any], optimizer: str, options: dict[str, Any]) -> Any:
        import jax
        import optax

        model, inputs = self.make()
        update = {"sgd": optax.sgd(0.1, momentum=0.9), "adamw": optax.adamw(1e-3)}[optimizer]
        options.setdefault("params", self.params)
        kwargs = {name: True if name == "train" else value for name, value in self.kwargs.items()}
        return make(model, *inputs, loss=lambda y: (jax.tree.leaves(y)[0] ** 2).mean(), optimizer=update,
                    kwargs={**kwargs, **options.pop("kwargs", {})}, **options)

    def with_inputs(self, inputs: Iterable[str], where: str | None = None, kwargs: Mapping[str, Any] | None = None) -> ModelEntry:
        """The same model called with other inputs, another domain, or other keyword arguments."""
        inputs = tuple(inputs)
        return replace(self, inputs=inputs or self.inputs, where=self.where if where is None else where,
                       kwargs={**self.kwargs, **(kwargs or {})})


def _parse_input(text: str) -> tuple[str, str]:
    """(names and integers separated by spaces, dtype) of ``"n,h,w,3:float32"``."""
    shape, _, dtype = text.partition(":")
    parts = [p.strip() for p in shape.split(",")]
    if parts[-1] == "":  # of one dimension Python writes (n,), of none ()
        parts.pop()
    for p in parts:
        if not (p.isdigit() or p.isidentifier()):
            raise CostModelError(f"input {text!r}: {p!r} is neither an integer nor a name; write e.g. 'n,h,w,3:float32'")
    return " ".join(parts), dtype.strip() or "float32"


def _dimensions(name_lists: Iterable[str], where: str) -> dict[str, Any]:
    from costmodel.symbolic.dimensions import dims

    names = list(dict.fromkeys(p for names in name_lists for p in names.replace(",", " ").split() if not p.isdigit()))
    if not names:
        return {}
    made = dims(" ".join(names), where=where)
    return dict(zip(names, made if isinstance(made, tuple) else (made,), strict=True))


def input_spec(text: str, made: Mapping[str, Any]) -> Any:
    """``"n,h,w,3:float32"`` as an abstract array over dimensions by name."""
    from costmodel.trace.requests import spec

    shape, dtype = _parse_input(text)
    return spec(tuple(int(p) if p.isdigit() else made[p] for p in shape.split()), dtype)


def zoo() -> dict[str, ModelEntry]:
    """Every model that an installed zoo registers, by name. Raises CostModelError for a name given twice."""
    found: dict[str, ModelEntry] = {}
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        with _importing(point.module.split(".")[0], _installed()):
            models = point.load()()
        for entry in models:
            if entry.name in found:
                raise CostModelError(f"two zoos register a model called {entry.name!r}; uninstall one of them")
            found[entry.name] = entry
    return found


def search_path(name: str) -> list[str]:
    """Where the modules of a model are looked for. A user's own: in the working directory, as ``python -m`` would find them, then
    where they keep their models."""
    if ":" not in name:
        return _installed()
    return ["", *filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)), *sys.path]


def _installed() -> list[str]:
    """Where installed packages are found: beside costmodel, then along the path without the working directory, and there last."""
    here = [p for p in sys.path if os.path.abspath(p) == os.getcwd()]
    return [str(Path(__file__).parents[1]), *(p for p in sys.path if p not in here), *here]


@contextlib.contextmanager
def _importing(package: str, path: list[str]) -> Iterator[None]:
    """Imports go along ``path`` while it lasts. A package of that name which was imported from elsewhere is set aside meanwhile:
    the user's folder ``zoo`` and ours, say, are two packages of one name."""
    before = sys.path[:]
    sys.path[:] = path
    aside = {}
    try:
        spec = importlib.machinery.PathFinder.find_spec(package, path)
        loaded = sys.modules.get(package)
        if spec and loaded and places(spec) != places(loaded.__spec__):
            names = [name for name in sys.modules if name.split(".")[0] == package]
            aside = {name: sys.modules.pop(name) for name in names}
        yield
    finally:
        if aside:
            for name in [name for name in sys.modules if name.split(".")[0] == package]:
                del sys.modules[name]
            sys.modules.update(aside)
        sys.path[:] = before


def places(spec: importlib.machinery.ModuleSpec | None) -> list[str]:
    """The real paths of a package's folders, or of a module's file."""
    if spec is None:
        return []
    return [os.path.realpath(p) for p in spec.submodule_search_locations or [spec.origin or ""]]


def model(name: str) -> ModelEntry:
    """A zoo model by name, or ``package.module:attribute`` (a Flax module, a class or a function).

    Raises CostModelError for an unknown name (with the nearest ones), a module that does not import, or an attribute it lacks.
    """
    if ":" in name:
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
    with _importing(module.split(".")[0], _installed()):
        named = getattr(importlib.import_module(module), "named", None)
        return None if named is None else named(name)


def _attribute(name: str) -> ModelEntry:
    module_name, _, attribute = name.partition(":")
    try:
        with _importing(module_name.split(".")[0], search_path(name)):
            found: Any = importlib.import_module(module_name)
    except Exception as error:  # the user's module may fail in any way; its reason is what they need
        reason = str(error).splitlines()[0] if str(error) else ""
        raise CostModelError(f"{module_name} does not import: {type(error).__name__}: {reason}; run from the folder that holds it, "
                             f"name that folder in {FOLDERS}, or install it") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [n for n in dir(found) if not n.startswith("_")], cutoff=0.4)
            raise CostModelError(f"module {module_name} has no attribute {attribute!r};"
                                 f"{near or ' it is package.module:attribute'}")
        found = getattr(found, part)
    if isinstance(found, ModelEntry):
        return found
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise CostModelError(f"{name} is a class that needs arguments ({error}); give an instance or a function") from None
    return ModelEntry(attribute, lambda: found, (), f"from {name}")
