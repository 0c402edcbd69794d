"""Sharded programs: meshes, how values are sharded over them, and what each device computes, holds and sends."""

# What other rooms may use.
__all__ = [
    "analysis",
    "mesh",
    "pipelines",
    "requested",
    "rules",
]
