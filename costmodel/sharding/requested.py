"""How the arrays of a request are sharded: what the user says, and what Flax's partitioning metadata says of parameters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
from jax.sharding import NamedSharding, PartitionSpec

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, RankError
from costmodel.program.raw import RawProgram
from costmodel.sharding.mesh import Mesh, mesh_of
from costmodel.sharding.rules import Rules
from costmodel.surface import said
from costmodel.trace.pure import paths
from costmodel.trace.requests import Request
from costmodel.trace.training import Step
from costmodel.trace.words import Origin

Spec: TypeAlias = PartitionSpec | None


@dataclass(frozen=True)
class Shardings:
    """What was said of a request's arrays. Each is a partition (``PartitionSpec``, ``NamedSharding``; None leaves it to the
    partitioner) or a pytree of them that is a prefix of what it is for.

    inputs:  of the inputs, in their order.
    outputs: of the results.
    params:  of a module's parameters, in place of Flax's metadata; or :class:`~costmodel.sharding.rules.Rules`.
    targets: of a training step's targets.
    """

    inputs: Any = None
    outputs: Any = None
    params: Any = None
    targets: Any = None

    @property
    def stated(self) -> bool:
        """Whether anything was said of any of them."""
        return any(part is not None for part in (self.inputs, self.outputs, self.params, self.targets))


NOTHING = Shardings()


def specs_of(request: Request | Step, stated: Shardings, mesh: Mesh) -> tuple[list[Spec], list[Spec] | None]:
    """Partitions of the flat arguments, and those that a training step's results have by themselves (gradients, what it updates);
    None where nothing says them.

    Raises CostModelError for a pytree of another structure, and for an axis that the mesh does not have."""
    forward = request.forward if isinstance(request, Step) else request
    params, others = _of_state(forward, stated, mesh)
    inputs, kw = _of_inputs(forward, stated)
    into = [*params, *others, *inputs, *kw]
    state = _of_optimizer(request, params) if isinstance(request, Step) else []
    if isinstance(request, Step):
        into += [*state, *_of_targets(stated.targets, request.targets)]
    for spec in into:
        check_axes(spec, mesh)
    out = None
    if isinstance(request, Step) and stated.outputs is None and any(params):
        updated = [*params] if request.optimizer is None else [*params, *state]
        out = [PartitionSpec(), *others, *updated]
    return into, out


def check_inputs(request: Request | Step, stated: Shardings, mesh: Mesh) -> None:
    """Raises CostModelError for partitions of inputs that cannot be theirs, which shows before anything is traced."""
    for specs in _per_argument(request.forward if isinstance(request, Step) else request, stated):
        for spec in specs:
            check_axes(spec, mesh)


def mesh_of_inputs(request: Request | Step) -> Mesh | None:
    """The mesh over which inputs or targets are sharded; None where none is. Raises CostModelError for two meshes."""
    forward = request.forward if isinstance(request, Step) else request
    targets = request.stated_targets if isinstance(request, Step) else ()
    found = {mesh_of(leaf.sharding.mesh) for leaf in jax.tree.leaves((forward.inputs, dict(forward.kwargs), targets))
             if compat.stated_sharding(leaf) is not None}
    if len(found) > 1:
        raise CostModelError(f"inputs are sharded over the meshes {' and '.join(sorted(map(str, found)))}: use one mesh")
    return next(iter(found), None)


def _of_state(request: Request, stated: Shardings, mesh: Mesh) -> tuple[list[Spec], list[Spec]]:
    """Partitions of parameters and of everything else that a module holds, random keys included."""
    if request.kind == "function":
        if request.params is None:
            if isinstance(stated.params, Rules):
                name = getattr(request.model, "__name__", "the function")
                raise CostModelError(f"{name} holds no parameters that rules could be of: say how its inputs are sharded")
            return [], []
        if stated.params is not None:
            return _said_of(stated.params, request, request.inputs[request.params]), []
        return _per_argument(request, stated)[request.params], []
    form = request.form
    others = [None] * len(jax.tree.leaves(form.rngs))
    if stated.params is not None:
        return _said_of(stated.params, request, form.params), [*_metadata(request, form.others, mesh), *others]
    return _metadata(request, form.params, mesh), [*_metadata(request, form.others, mesh), *others]


def _said_of(given: Any, request: Request, tree: Any) -> list[Spec]:
    """Partitions of parameters as they are given: a prefix of their tree, or rules."""
    if not isinstance(given, Rules):
        return _said_or_own(given, tree, "param_shardings")
    names = ["/".join(path).removesuffix("/value") for path in paths(tree)]  # a box around an array is one more step of its path
    return given.spread(names, [leaf.ndim for leaf in jax.tree.leaves(tree)], _names_stated(request, tree) or [None] * len(names))


def _of_inputs(request: Request, stated: Shardings) -> tuple[list[Spec], list[Spec]]:
    kw = _said_or_own(None, request.split_kwargs()[0], "kwargs")
    per = _per_argument(request, stated)
    return [spec for i, specs in enumerate(per) if i != request.params for spec in specs], kw


def _per_argument(request: Request, stated: Shardings) -> list[list[Spec]]:
    """Partitions of the leaves of each input: what was said, else what a spec has with it."""
    given = stated.inputs
    if is_spec(given):
        return [_said_or_own(given, x, "in_shardings") for x in request.inputs]
    entries = tuple(given) if isinstance(given, tuple | list) else (given,)
    if len(entries) != len(request.inputs):
        inputs = f"{len(request.inputs)} input{'' if len(request.inputs) == 1 else 's'}"
        raise CostModelError(said(f"in_shardings has {len(entries)} entries for {inputs}: one for each, or a PartitionSpec for all",
                                  f"{len(entries)} times --shard for {inputs}: give one for each, or one for all"))
    return [_said_or_own(entry, x, f"in_shardings[{i}]") for i, (entry, x) in enumerate(zip(entries, request.inputs, strict=True))]


def _said_or_own(given: Any, tree: Any, what: str) -> list[Spec]:
    """Partitions of a tree's leaves: what was said, else what a leaf has with it."""
    leaves = jax.tree.leaves(tree)
    said = spread(given, tree, what)
    for spec, leaf in zip(said, leaves, strict=True):
        check_rank(spec, leaf.shape, what)
    own = [spec_of(getattr(leaf, "sharding", None)) for leaf in leaves]
    return [spec if spec is not None else has for spec, has in zip(said, own, strict=True)]


def _of_targets(given: Any, targets: Any) -> list[Spec]:
    """Partitions of targets. One that is of all data is made for the inputs: a target of fewer dimensions, such as a label for each
    row, is shared as its batch is."""
    if not isinstance(given, PartitionSpec):
        return _said_or_own(given, targets, "targets")
    return [spec for leaf in jax.tree.leaves(targets)
            for spec in _said_or_own(given if len(given) <= len(leaf.shape) else PartitionSpec(*given[:min(1, len(leaf.shape))]),
                                     leaf, "targets")]


def _of_optimizer(request: Step, params: Sequence[Spec]) -> list[Spec]:
    """Partitions of the optimizer's state: an array that stands for a parameter, by its path and rank, has the parameter's."""
    form = request.forward.form
    known = [(keys, leaf.ndim, spec) for (keys, leaf), spec in zip(jax.tree_util.tree_flatten_with_path(form.params)[0], params,
                                                                  strict=True)]
    found: list[Spec] = []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(request.state)[0]:
        like = [spec for path, rank, spec in known if rank == leaf.ndim and keys[len(keys) - len(path):] == path]
        found.append(like[0] if like else PartitionSpec() if any(params) else None)
    return found


# -- Flax's metadata ----------------------------------------------------------------------------------------------------------


def _metadata(request: Request, tree: Any, mesh: Mesh) -> list[Spec]:
    """The partitions that Flax's metadata states of a tree of variables."""
    count = len(jax.tree.leaves(tree))
    flat = _names_stated(request, tree)
    if request.kind == "linen" and any(set(_names(spec)) - set(mesh.names) for spec in flat):
        from flax import linen

        flat = jax.tree.leaves(linen.logical_to_mesh(linen.get_partition_spec(tree)), is_leaf=is_spec)
    if len(flat) != count:
        return [None] * count
    some = any(_names(spec) for spec in flat)
    return [(spec if spec is not None else PartitionSpec()) if some else None for spec in flat]


def _names_stated(request: Request, tree: Any) -> list[Spec]:
    """What Flax's metadata calls the dimensions of a tree's variables, logical axes as they are; nothing where it says nothing."""
    if request.kind == "linen":
        from flax import linen

        found = linen.get_partition_spec(tree)
    elif request.kind == "nnx":
        from flax import nnx

        found = nnx.get_partition_spec(tree)
    else:
        return []
    flat = jax.tree.leaves(found, is_leaf=is_spec)
    return flat if len(flat) == len(jax.tree.leaves(tree)) else []


def has_metadata(program: RawProgram, forward: Request) -> bool:
    """Whether a module's parameters state how they are partitioned."""
    if forward.kind == "linen":  # a box around an array is one more step of its path
        return any(v.origin == Origin.PARAMETER and v.name.endswith("/value") for v in program.inputs)
    if forward.kind != "nnx":
        return False
    from flax import nnx

    return any(any(variable.get_metadata().get(key) for key in ("sharding", "sharding_names", "out_sharding"))
               for _, variable in nnx.iter_graph(forward.model) if isinstance(variable, nnx.Variable))


# -- partitions and pytrees of them -------------------------------------------------------------------------------------------


def is_spec(x: Any) -> bool:
    """Whether it says how an array is sharded; None says nothing of it."""
    return x is None or isinstance(x, PartitionSpec | jax.sharding.Sharding)


def spec_of(x: Any) -> Spec:
    """The partition of a sharding; None for one that says nothing."""
    if isinstance(x, PartitionSpec):
        return x
    return PartitionSpec(*x.spec) if isinstance(x, NamedSharding) else None


def spread(prefix: Any, tree: Any, what: str) -> list[Spec]:
    """A partition for each leaf of a tree, from a prefix of it."""
    if is_spec(prefix):
        return [spec_of(prefix)] * len(jax.tree.leaves(tree))
    flat, structure = jax.tree.flatten(prefix, is_leaf=is_spec)
    wrong = [x for x in flat if not is_spec(x)]
    if wrong:
        raise CostModelError(f"{what} has {wrong[0]!r}, which is no PartitionSpec")
    try:
        parts = structure.flatten_up_to(tree)
    except ValueError as error:
        raise CostModelError(f"{what} is no prefix of what it is for: {' '.join(str(error).split())[:200]}") from error
    return [spec for one, part in zip(flat, parts, strict=True) for spec in [spec_of(one)] * len(jax.tree.leaves(part))]


def results(stated: Any, count: int, own: Sequence[Spec] | None) -> list[Spec]:
    """Partitions of ``count`` results: those stated, or ``own``."""
    if stated is None:
        return list(own) if own is not None and len(own) == count else [None] * count
    if is_spec(stated):
        return [spec_of(stated)] * count
    flat = [spec_of(x) for x in jax.tree.leaves(stated, is_leaf=is_spec)]
    if len(flat) != count:
        raise CostModelError(f"out_shardings has {len(flat)} partitions for {count} results: one for each, or one for all of them")
    return flat


def _names(spec: Any) -> Iterable[str]:
    for entry in spec or ():
        if entry is not None and entry is not PartitionSpec.UNCONSTRAINED:
            yield from entry if isinstance(entry, tuple) else (entry,)


def check_axes(spec: Spec, mesh: Mesh) -> None:
    """Raises CostModelError for a partition along what is no axis of the mesh."""
    strange = sorted(set(map(str, _names(spec))) - set(mesh.names))
    if strange:
        raise CostModelError(f"{spec} is along {', '.join(strange)}, which is no axis of the mesh {mesh}; logical axes are mapped "
                             "by flax.linen.logical_axis_rules or --shard-rules")


def check_rank(spec: Spec, shape: Sequence[Any], what: str) -> None:
    """Raises RankError for a partition with more entries than its array has dimensions."""
    if spec is not None and len(spec) > len(shape):
        raise RankError(what, spec, f"an array of shape ({', '.join(map(str, shape))})", len(shape))


def tell_metadata(name: str) -> None:
    """One line for a model that says how it is partitioned, analysed without a mesh."""
    print(f"costmodel: {name} states how its parameters are partitioned, and no mesh was given: these are costs of one device that "
          "holds everything; pass mesh={'axis': size, …}", file=sys.stderr)
