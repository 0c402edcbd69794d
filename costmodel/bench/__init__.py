"""Measured against predicted: the programs that were counted, run on this machine."""

from costmodel.bench.run import CheckResult, Prediction, check

__all__ = ["CheckResult", "Prediction", "check"]
