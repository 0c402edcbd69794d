"""What a sweep found, as plain arrays with named axes: a terminal needs no more, and xarray takes long to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from costmodel.errors import CostModelError


@dataclass(frozen=True, eq=False)
class Variable:
    """An array (numpy's or Dask's) with the names of its axes, and what it is."""

    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, str] = field(default_factory=dict)

    def isel(self, place: Mapping[str, int]) -> Any:
        """One element, by index on each axis, as an array of no axes: Python's integers beyond 64 bits, too."""
        return self.values[(*(place[axis] for axis in self.dims), ...)]

    def over(self, axes: tuple[str, ...]) -> Any:
        """Its array as it broadcasts over these axes, of which its own are some, in that order."""
        values = self.values.transpose([self.dims.index(axis) for axis in axes if axis in self.dims])
        return values[tuple(slice(None) if axis in self.dims else None for axis in axes)]


@dataclass(frozen=True, eq=False)
class Swept:
    """Variables by name, the values along axes and others of that kind, and what the whole is: the parts of an xarray.Dataset, by
    xarray's names."""

    data_vars: Mapping[str, Variable]
    coords: Mapping[str, Variable]
    attrs: Mapping[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each axis."""
        return {axis: length for v in (*self.data_vars.values(), *self.coords.values())
                for axis, length in zip(v.dims, v.values.shape, strict=True)}

    def __contains__(self, name: str) -> bool:
        return name in self.data_vars or name in self.coords

    def __getitem__(self, name: str) -> Variable:
        return self.data_vars[name] if name in self.data_vars else self.coords[name]

    def dataset(self) -> Any:
        """As an xarray.Dataset. Raises CostModelError without xarray."""
        xr = xarray()

        def parts(named: Mapping[str, Variable]) -> dict[str, tuple[Any, ...]]:
            return {name: (v.dims, v.values, dict(v.attrs)) for name, v in named.items()}

        return xr.Dataset(parts(self.data_vars), coords=parts(self.coords), attrs=dict(self.attrs))


def xarray() -> Any:
    """The library. Raises CostModelError, saying what to install, where it is not there."""
    try:
        import xarray
    except ImportError:
        raise CostModelError("sweep needs xarray: pip install 'jax-costmodel[sweep]'") from None
    return xarray
