"""Which equations share a kernel, under a named policy, and what crosses the kernels' borders.

A policy is structure only: it looks at the equations, never at sizes or devices. :mod:`~costmodel.fusion.plan` makes the kernels;
:mod:`~costmodel.fusion.layers` are the lecture's layers, :mod:`~costmodel.fusion.policies` what compilers do.
"""

from costmodel.fusion.kernel import Kernel
from costmodel.fusion.plan import POLICIES, plan

# What other rooms may use.
__all__ = ["POLICIES", "Kernel", "graph", "kernel", "plan", "policies"]
