"""The quantities that people ask for: what fits, where the bound flips, which device will do, what to buy.

Every answer is found on the exact expressions, in closed form where the symbol stands linearly and by a search over a monotone
condition elsewhere, and is then checked: the values at the answer and at the next step of the domain are both evaluated and given.

>>> import flax.linen as nn
>>> import costmodel as cm
>>> n = cm.dims("n")
>>> cost = cm.analyze(nn.Dense(1000, use_bias=False), cm.spec((n, 1000)))
>>> print(max_fit(cost, "n", "10MB", uses="weights+cache"))
n = 1500: 10,000,000 of 10,000,000 B; n = 1501 takes 10,004,000 B
>>> print(crossover(cost, "n", "lecture", policy="layer"))
n = 119: compute-bound from there on, at 48.06 OP/B; the ridge is at 48 OP/B
"""

from costmodel.pricing.elasticity import elasticities
from costmodel.solve.communication import CommunicationBound, communication_bound
from costmodel.solve.crossovers import Crossover, crossover
from costmodel.solve.figures import FigureCrossover, figure_crossover
from costmodel.solve.fits import Fit, capacity, fits, max_fit
from costmodel.solve.plans import Plans, plan
from costmodel.solve.rates import TRAINED, Rates, rates_of
from costmodel.solve.speed import (
    Candidate,
    Saturation,
    Within,
    devices_for,
    max_batch,
    saturation,
    seconds_of,
)
from costmodel.solve.stack import Stack
from costmodel.solve.stages import Stages
from costmodel.solve.steps import Composer, Plan, StepCost
from costmodel.solve.training import StepMemory, StepTime, largest_batch, step_memory, step_time

__all__ = [
    "TRAINED",
    "Candidate",
    "CommunicationBound",
    "Composer",
    "Crossover",
    "FigureCrossover",
    "Fit",
    "Plan",
    "Plans",
    "Rates",
    "Saturation",
    "Stack",
    "Stages",
    "StepCost",
    "StepMemory",
    "StepTime",
    "Within",
    "capacity",
    "communication_bound",
    "compare",
    "crossover",
    "devices_for",
    "elasticities",
    "figure_crossover",
    "fits",
    "largest_batch",
    "line",
    "max_batch",
    "max_fit",
    "plan",
    "rates_of",
    "region",
    "saturation",
    "seconds_of",
    "step_memory",
    "step_time",
]
