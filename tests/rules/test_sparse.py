"""Sparse products count what is stored: by hand, as the dense product where everything is stored, and as XLA's program does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

import costmodel as cm
from costmodel.rules import registered

E, M, K, N, B = cm.symbols("e m k n b")
e, m, k, n, b = cm.dims("e m k n b")
DATA, INDICES, ROWS = cm.spec((e,)), cm.spec((e, 2), "int32"), cm.spec((e,), "int32")
MATRIX, VECTOR = cm.spec((k, n)), cm.spec((k,))


def bcoo(data, indices, shape):
    return sparse.BCOO((data, indices), shape=shape)


# name: (function, inputs, MACs)
PRODUCTS = {
    "matrix times matrix": (lambda d, i, y: bcoo(d, i, (m, k)) @ y, (DATA, INDICES, MATRIX), E * N),
    "matrix times vector": (lambda d, i, v: bcoo(d, i, (m, k)) @ v, (DATA, INDICES, VECTOR), E),
    "dense times sparse": (lambda d, i, y: y @ bcoo(d, i, (k, n)), (DATA, INDICES, cm.spec((m, k))), E * M),
    "jitted": (jax.jit(lambda d, i, y: bcoo(d, i, (m, k)) @ y), (DATA, INDICES, MATRIX), E * N),
    "batch of matrices": (lambda d, i, y: sparse.bcoo_dot_general(
        bcoo(d, i, (b, m, k)), y, dimension_numbers=(((2,), (1,)), ((0,), (0,)))),
        (cm.spec((b, e)), cm.spec((b, e, 2), "int32"), cm.spec((b, k, n))), B * E * N),
    "rows of blocks": (lambda d, i, y: sparse.bcoo_dot_general(
        bcoo(d, i, (m, k)), y, dimension_numbers=(((0,), (0,)), ((), ()))),
        (cm.spec((e, k)), cm.spec((e, 1), "int32"), cm.spec((m, n))), E * K * N),
    "gradient of the data": (jax.grad(lambda d, i, y: (bcoo(d, i, (m, k)) @ y).sum()), (DATA, INDICES, MATRIX), E * N),
    "gradient of the dense operand": (jax.grad(lambda y, d, i: (bcoo(d, i, (m, k)) @ y).sum()), (MATRIX, DATA, INDICES), E * N),
    "rows compressed": (lambda d, c, r, y: sparse.BCSR((d, c, r), shape=(m, k)) @ y,
                        (DATA, ROWS, cm.spec((m + 1,), "int32"), MATRIX), E * N),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_sparse_product_counts_what_is_stored(name):
    function, inputs, macs = PRODUCTS[name]
    assert cm.analyze(function, *inputs).macs.expand() == macs


@pytest.mark.parametrize("kind", ["bcoo", "bcsr", "coo", "csr"])
@pytest.mark.parametrize("columns", [(), (5,)])
def test_a_full_array_costs_the_dense_product(kind, columns):
    """Four formats, matrix times vector and matrix times matrix."""
    formats = {"bcoo": sparse.BCOO, "bcsr": sparse.BCSR, "coo": sparse.COO, "csr": sparse.CSR}
    full = formats[kind].fromdense(np.ones((6, 7), "float32"))
    parts, tree = jax.tree.flatten(full)
    y = cm.spec((7, *columns))
    cost = cm.analyze(lambda y, *parts: jax.tree.unflatten(tree, parts) @ y, y, *parts)
    dense = cm.analyze(jnp.matmul, cm.spec((6, 7)), y)
    assert (cost.macs, cost.program.outputs[0].array) == (dense.macs, dense.program.outputs[0].array)
    assert cost.bytes("compulsory") >= dense.bytes("compulsory")  # and the indices


def flops(function, *arrays):
    return jax.jit(function).lower(*arrays).cost_analysis()["flops"]


def test_xla_multiplies_and_adds_once_a_stored_element_and_column():
    """How its operations grow with the columns: two of a dot of depth one, the sum into its row, and a selection, because jax takes
    zeros for an index beyond the array's end."""
    def product(d, i, y):
        return bcoo(d, i, (50, 40)) @ y

    eight, nine = ((jnp.ones(30), jnp.zeros((30, 2), int), jnp.ones((40, columns))) for columns in (8, 9))
    assert cm.analyze(product, *nine).macs - cm.analyze(product, *eight).macs == 30
    assert flops(product, *nine) - flops(product, *eight) == 2 * 30 + 30 + 30


@pytest.mark.parametrize("shapes, results, selections", [
    (((6, 0), (0, 5)), 4, 2 * 4),  # elements of both operands, zeros beyond the end
    (((6, 0), (0, 5, 3)), 6 * 5 * 3, 0),
])
def test_a_sampled_product_grows_with_its_depth_as_xlas_does(shapes, results, selections):
    """Products of two matrices make what is stored; of more dimensions jax makes all."""
    def function(a, c, indices):
        return sparse.bcoo_dot_general_sampled(a, c, indices, dimension_numbers=(((1,), (0,)), ((), ())))

    def arrays(depth):
        return *(jnp.ones([d or depth for d in s]) for s in shapes), jnp.zeros((4, sum(map(len, shapes)) - 2), int)

    xla = flops(function, *arrays(12)) - flops(function, *arrays(11))
    ours = [cm.analyze(function, *(cm.spec(a.shape, a.dtype) for a in arrays(depth))).macs for depth in (11, 12)]
    assert ours[1] - ours[0] == results
    assert xla == 2 * results + selections


def test_the_dense_operand_is_read_once_at_most():
    """Of a table of k rows three stored elements meet three at most."""
    cost = cm.analyze(lambda d, i, y: bcoo(d, i, (4, k)) @ y, (3,), cm.spec((3, 2), "int32"), (k, 5))
    stored, written = 3 * (4 + 8), 4 * 5 * 4
    assert [cost.at(k=size).bytes("compulsory") for size in (2, 3, 4, 1000)] == [
        stored + written + 4 * 5 * min(size, 3) for size in (2, 3, 4, 1000)]


def test_a_product_of_two_sparse_arrays_is_bounded_by_all_pairs():
    cost = cm.analyze(lambda d, i, f, j: (bcoo(d, i, (30, 40)) @ bcoo(f, j, (40, 50))).data,
                      (7,), cm.spec((7, 2), "int32"), (9,), cm.spec((9, 2), "int32"))
    assert cost.macs == 7 * 9
    assert cost.coverage.count("bounded") == 1


def test_making_a_sparse_array_looks_at_every_element_and_is_bounded():
    cost = cm.analyze(lambda x: sparse.BCOO.fromdense(x, nse=7).data, (m, k))
    assert cost.at(m=8, k=9).program.outputs[0].array.size == 7
    looked = [count for e in cost.program for kind, count, _ in e.work.ops if kind.name == "compare"]
    assert looked == [K * M]
    assert cost.coverage.count("bounded") == 1


def test_back_to_dense_adds_each_stored_element_and_writes_all():
    cost = cm.analyze(lambda d, i: bcoo(d, i, (m, k)).todense(), DATA, INDICES)
    assert (cost.flops, cost.bytes("compulsory").expand()) == (E, 4 * E + 8 * E + 4 * K * M)


MORE = {
    "transpose": lambda d, i: bcoo(d, i, (8, 9)).T.data,
    "sort": lambda d, i: bcoo(d, i, (8, 9)).sort_indices().data,
    "sum of duplicates": lambda d, i: bcoo(d, i, (8, 9)).sum_duplicates(nse=5).data,
    "sum": lambda d, i: bcoo(d, i, (8, 9)).sum(),
    "twice": lambda d, i: (bcoo(d, i, (8, 9)) * 2.0).data,
    "slice": lambda d, i: bcoo(d, i, (8, 9))[0].todense(),
    "sum of two": lambda d, i: (bcoo(d, i, (8, 9)) + bcoo(d, i, (8, 9))).data,
}


@pytest.mark.parametrize("name", MORE)
def test_other_operations_are_costed(name):
    few = cm.dims("e", max=7)
    cost = cm.analyze(MORE[name], cm.spec((few,)), cm.spec((few, 2), "int32"))
    assert cost.coverage.unknown == {}
    cost.verify(**dict.fromkeys(cost.symbols, 6))


def primitives_of(module):
    return {getattr(module, name).name for name in dir(module) if name.endswith("_p") and hasattr(getattr(module, name), "bind")}


def test_every_primitive_of_the_sparse_formats_has_a_rule():
    from jax.experimental.sparse import bcoo, bcsr, coo, csr

    names = set.union(*map(primitives_of, (bcoo, bcsr, coo, csr)))
    assert len(names) > 20
    assert sorted(names - set(registered())) == []
