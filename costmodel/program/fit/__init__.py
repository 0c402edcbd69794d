"""Closed forms from integers: sizes that jax refuses to give symbolically, recovered from their values at points.

``fit_columns`` is the fitter: an oracle gives the same integers at any point, and each of them becomes an exact form in the
symbols, or is refused by name. The files from the ground up: where points lie (``box``), what is known at them (``sample``),
exact linear algebra (``linear``), families of forms (``algebraic``, ``steps``, ``separable``), one column's hypotheses
(``search``), which point to ask next (``plan``), and the loop (``fitter``). ``growth`` fits what changes with a depth.
"""
