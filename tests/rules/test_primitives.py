"""Every primitive that jax's public functions make has a rule, is declared free, is bounded, or is refused by name.

The programs come from public_calls.py: each public function called on small inputs, its gradient, and its map over a leading axis.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import jax
import jax.extend.core.primitives
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec
from public_calls import NAMESPACES, Call, array, programs_beside_functions, public_functions, traced
from sympy import Add

import costmodel as cm
from costmodel.program.control_flow import HANDLERS
from costmodel.program.inliner import CALLS
from costmodel.program.walk import walk
from costmodel.rules import lookup, registered, scoped, vector
from costmodel.trace.requests import Leaf, Traced

# Refused by name: see costmodel/rules/opaque.py.
REFUSED = {name for name, rule in registered().items() if rule.function.__module__ == "costmodel.rules.opaque"}


def known(primitive: str) -> bool:
    return primitive in CALLS or primitive in HANDLERS or lookup(primitive) is not None


def costed(jaxpr):
    """The cost table of a program; raises if an equation has no rule or a rule fails."""
    leaves = tuple(Leaf("input", (str(i),)) for i in range(len(jaxpr.jaxpr.invars)))
    return walk(Traced(jaxpr, leaves, ""))[0]


def problems(name, jaxpr):
    """What is wrong with the costs of a program, as text; an explicit refusal is not wrong."""
    try:
        table = costed(jaxpr)
    except cm.UnknownPrimitive as error:
        return [] if str(error).split()[0] in REFUSED else [f"{name}: {error}"]
    except Exception as error:  # every failure of every program is to be listed
        return [f"{name}: {type(error).__name__}: {error}"]
    counts = [(e, kind, count) for e in table for kind, *both in e.work.ops for count in both]
    # A ring sends (p - 1)/p of an array: whole elements only in the sum over the devices.
    return [f"{name}: {e.primitive} counts {count} {kind.name}" for e, kind, count in counts
            if not (count.is_nonnegative and (count.is_integer or kind.engine == "link"))]


def test_every_primitive_that_jax_names_is_known():
    names = {getattr(jax.extend.core.primitives, n).name for n in dir(jax.extend.core.primitives) if n.endswith("_p")}
    assert len(names) > 150
    assert sorted(n for n in names if not known(n)) == []


def test_an_invented_primitive_is_found():
    """The enumeration can fail."""
    invented = jax.extend.core.Primitive("invented_by_a_test")
    invented.def_abstract_eval(lambda x: x)
    found = problems("f", jax.make_jaxpr(lambda x: lax.scan(lambda c, _: (invented.bind(c), None), x, length=2)[0])(jnp.ones(4)))
    assert len(found) == 1 and "invented_by_a_test" in found[0]
    assert not known("invented_by_a_test")


def test_a_wrong_rule_is_found():
    def wrong(eqn, **_):
        return eqn.work(vector("sin", "float32", eqn.out.size - 100))

    with scoped({"sin": wrong}):
        assert "never negative" in problems("f", jax.make_jaxpr(jnp.sin)(jnp.ones(4)))[0]


def test_most_public_functions_are_called():
    """So that the enumeration cannot rot unseen."""
    counts = {namespace: (len(traced(namespace)[0]), len(public_functions(namespace))) for namespace in NAMESPACES}
    called, public = map(sum, zip(*counts.values(), strict=True))
    print(f"{called} of {public} public functions traced on jax {jax.__version__}; not:",
          {n: traced(n)[1] for n in NAMESPACES if traced(n)[1]})
    assert public > 850
    assert called > 0.97 * public


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_function_is_costed(namespace):
    calls, _ = traced(namespace)
    assert [p for name, (_, jaxpr) in calls.items() for p in problems(f"{namespace}.{name}", jaxpr)] == []


# What jax itself cannot differentiate or map, in one of the supported versions, by the reason that it gives; all other functions
# of floating-point arguments and results have a gradient, and all of arguments have a map.
REFUSED_BY_JAX = {
    "gradient": {
        "a while loop is not differentiated backwards":
            "fori_loop while_loop random_gamma_grad qdwh polar eigh_tridiagonal minimize",
        "no derivative with respect to a parameter": "betainc polygamma cdf logcdf sf logsf ppf",
        "no derivative is written":
            "schur funm solve_sylvester sqrtm nextafter spacing hessenberg igamma_grad_a pmax pmin rng_uniform scaled_dot "
            "scaled_matmul scatter_apply zeta cholesky_update householder_product ormqr symmetric_product tridiagonal qr_multiply "
            "clone composite reduce_window",
        "only with unique indices": "scatter_mul segment_prod",
        "only for symmetric matrices": "eig",
        "a token, no array": "create_token",
    },
    "mapped": {"no map is written": "composite rng_uniform cholesky_update", "a token, no array": "create_token"},
}


def _can_have(kind, call, jaxpr):
    """Whether there are arguments to map, or floating-point ones and results of them."""
    def floating(arrays):
        return any(jnp.issubdtype(getattr(a, "dtype", bool), jnp.floating) for a in arrays)

    return floating(call.arrays) and floating(jaxpr.out_avals) if kind == "gradient" else bool(call.arrays)


def _derived(kind):
    """(names, problems) of the gradients or maps of all functions that have one."""
    found, wrong = [], []
    refused = {name for names in REFUSED_BY_JAX[kind].values() for name in names.split()}
    for namespace in NAMESPACES:
        for name, (call, jaxpr) in traced(namespace)[0].items():
            if not _can_have(kind, call, jaxpr):
                continue
            try:
                jaxpr = getattr(call, kind)()
            except Exception as error:  # every refusal that is not listed is to be seen
                wrong += [] if name in refused else [f"no {kind} of {namespace}.{name}: {type(error).__name__}: {error}"]
                continue
            found.append(name)
            wrong += problems(f"{kind} of {namespace}.{name}", jaxpr)
    return found, wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind, least", [("gradient", 600), ("mapped", 800)])
def test_every_gradient_and_map_is_costed(kind, least):
    found, wrong = _derived(kind)
    assert wrong == []
    assert len(found) > least


PROGRAMS = {name: Call(name, function, arrays) for name, function, arrays in programs_beside_functions()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_no_single_function_makes(name):
    assert problems(name, PROGRAMS[name].jaxpr()) == []


def test_what_is_not_exact_says_why():
    assert all(rule.why for rule in registered().values() if rule.status != "exact")
    assert Counter(rule.status for rule in registered().values())["exact"] > 100


# -- collectives ---------------------------------------------------------------------------------------------------------------

ROWS, COLUMNS = 64, 4
WHOLE = ROWS * COLUMNS
BY_ROWS = PartitionSpec("d")


def mesh(*sizes, names=("d",)):
    return AbstractMesh(sizes, names, axis_types=(AxisType.Auto,) * len(sizes))


def ring(p):
    return [(i, (i + 1) % p) for i in range(p)]


# name: (p -> function of one device's rows, result's partition, p -> elements that the p devices send together; of "one partner" as
# if each had one, as the device has whose cost it is)
COLLECTIVES = {
    # A ring all-reduce sends 2·(p - 1)/p of each device's part; p devices have WHOLE together.
    "psum": (lambda p: lambda x: lax.psum(x, "d"), PartitionSpec(), lambda p: 2 * (p - 1) * WHOLE // p),
    "pmax": (lambda p: lambda x: lax.pmax(x, "d"), PartitionSpec(), lambda p: 2 * (p - 1) * WHOLE // p),
    "pmean": (lambda p: lambda x: lax.pmean(x, "d"), PartitionSpec(), lambda p: 2 * (p - 1) * WHOLE // p),
    "all_gather": (lambda p: lambda x: lax.all_gather(x, "d", tiled=True), BY_ROWS, lambda p: (p - 1) * WHOLE),
    "psum_scatter": (lambda p: lambda x: lax.psum_scatter(x, "d", tiled=True), BY_ROWS, lambda p: (p - 1) * WHOLE // p),
    "all_to_all": (lambda p: lambda x: lax.all_to_all(x, "d", 0, 1, tiled=True), BY_ROWS,
                   lambda p: (p - 1) * WHOLE // p),
    "ppermute": (lambda p: lambda x: lax.ppermute(x, "d", ring(p)), BY_ROWS, lambda p: WHOLE),
    "one partner": (lambda p: lambda x: lax.ppermute(x, "d", [(0, 1)]), BY_ROWS, lambda p: WHOLE),
    "pshuffle": (lambda p: lambda x: lax.pshuffle(x, "d", [*range(1, p), 0]), BY_ROWS, lambda p: WHOLE),
    "axis_index": (lambda p: lambda x: x + lax.axis_index("d"), BY_ROWS, lambda p: 0),
    "pcast": (lambda p: lambda x: x + lax.pcast(jnp.ones(x.shape), "d", to="varying"), BY_ROWS, lambda p: 0),
}
# One device takes part in a gradient's collectives, too: the cotangent of a gather is a reduce-scatter.
GRADIENTS = {
    "all_gather": (lambda x: (lax.all_gather(x, "d") ** 2).sum(), lambda p: (p - 1) * WHOLE + (p - 1) * WHOLE),
    "all_to_all": (lambda x: (lax.all_to_all(x, "d", 0, 1, tiled=True) ** 2).sum(), lambda p: 2 * (p - 1) * WHOLE // p),
}


def on_the_wire(cost, devices=1):
    """Elements that one device sends, or ``devices`` of them."""
    each = Add(*(count * e.times for e in cost.program for kind, count, _ in e.work.ops if kind.engine == "link"))
    return devices * each.xreplace({cm.symbols(name): size for name, size in cost.mesh.axes})


def analyzed(function, out, devices, shape=(ROWS, COLUMNS), into=BY_ROWS):
    return cm.analyze(jax.shard_map(function, mesh=devices, in_specs=into, out_specs=out), cm.spec(shape))


@pytest.mark.parametrize("p", [1, 2, 8])
@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_are_counted_on_the_wire(name, p):
    if name == "one partner" and p == 1:
        pytest.skip("it takes two")
    function, out, elements = COLLECTIVES[name]
    assert on_the_wire(analyzed(function(p), out, mesh(p)), p) == elements(p)


@pytest.mark.parametrize("p", [1, 2, 8])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_collectives_are_counted_on_the_wire(name, p):
    function, elements = GRADIENTS[name]
    assert on_the_wire(analyzed(jax.grad(function), BY_ROWS, mesh(p)), p) == elements(p)


def test_an_axis_of_a_mesh_of_two_has_its_own_size():
    for axes, p in ((("a", "b"), 8), ("b", 4), ("a", 2)):
        left = PartitionSpec(*(a for a in ("a", "b") if a not in axes))
        cost = analyzed(lambda x, axes=axes: lax.psum(x, axes), left, mesh(2, 4, names=("a", "b")), (64, 64),
                        PartitionSpec("a", "b"))
        part = 64 * 64 // 8
        assert on_the_wire(cost) == 2 * (p - 1) * part // p


def test_wire_of_a_symbolic_size_is_a_formula():
    n = cm.dims("n")
    cost = analyzed(lambda x: lax.psum(x, "d"), PartitionSpec(), mesh(8), (8 * n, 3))
    assert on_the_wire(cost, 8) == 2 * 7 * 3 * cm.symbols("n")


def test_a_product_split_over_devices_does_the_same_work():
    split = PartitionSpec(None, "d"), BY_ROWS
    spread = jax.shard_map(lambda x, w: lax.psum(x @ w, "d"), mesh=mesh(8), in_specs=split, out_specs=PartitionSpec())
    x, w = cm.spec((32, 64)), cm.spec((64, 16))
    cost = cm.analyze(spread, x, w)
    assert cost.at().all_devices.macs == cm.analyze(jnp.matmul, x, w).macs
    assert on_the_wire(cost, 8) == 2 * 7 * 32 * 16


def test_ragged_all_to_all_is_bounded_by_all_of_it():
    part = array(ROWS, COLUMNS), array(ROWS, COLUMNS), *(array(ROWS, dtype="int32"),) * 4
    function = jax.shard_map(lambda x, o, *sizes: lax.ragged_all_to_all(x, o, *sizes, axis_name="d"), out_specs=BY_ROWS,
                             mesh=mesh(8), in_specs=(BY_ROWS,) * 6)
    cost = cm.analyze(function, *part)
    assert on_the_wire(cost, 8) == WHOLE
    assert "bounded" in str(cost.coverage)


EIGHT_DEVICES = """
import jax, sys
sys.path.insert(0, {tests!r})
from test_primitives import COLLECTIVES, analyzed, on_the_wire
assert len(jax.devices()) == 8
devices = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
for name, (function, out, elements) in COLLECTIVES.items():
    assert on_the_wire(analyzed(function(8), out, devices), 8) == elements(8), name
print("counted", len(COLLECTIVES))
"""


def test_collectives_on_eight_devices():
    """On real (fake CPU) devices, in a process of its own."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu",
           "PYTHONPATH": os.pathsep.join(sys.path)}
    script = EIGHT_DEVICES.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"counted {len(COLLECTIVES)}" in done.stdout
