"""Which equations share a kernel, under a named policy, and what crosses the kernels' borders.

A policy is structure only: it looks at what the equations are, never at sizes or devices. :mod:`~costmodel.fusion.registry` has
them by name; :mod:`~costmodel.fusion.groups` are the lecture's layers and every equation alone, :mod:`~costmodel.fusion.eager` an
eager framework's kernels, the files ``xla_*`` what compilers do.
"""

from costmodel.fusion.kernel import Kernel
from costmodel.fusion.registry import Policy, plan, policies, policy, register, rewritten

# What other rooms may use.
__all__ = ["Kernel", "Policy", "compiler", "conversions", "graph", "kernel", "plan", "policies", "policy", "predicates", "register",
           "registry", "rewritten"]
