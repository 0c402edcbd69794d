"""Sweeps: a grid of symbols and of a device's figures, bound axis by axis; formulas over it, block by block; what becomes of the
blocks (arrays, stores, reductions, Dask)."""
