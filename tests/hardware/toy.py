"""A device file that is right in every part, for tests to read and to break."""

GOOD = """\
name = "toy"
title = "A toy"
kind = "cpu"
year = 2020

[datasheet]
launch_overhead = { value = 2, unit = "us", source = "s" }
power = { value = 65, unit = "W", source = "s" }

[datasheet.peaks.matrix]
float32 = { value = 1, unit = "TFLOP/s", source = "s" }
int8 = { value = 4, unit = "TOP/s", source = "s", doubt = "d" }

[datasheet.peaks.vector]
float32 = { value = 500, unit = "GFLOP/s", source = "s" }

[datasheet.sparse.matrix]
float32 = { value = 2, unit = "TFLOP/s", source = "s" }

[datasheet.memory]
bandwidth = { value = 50, unit = "GB/s", source = "s" }
capacity = { value = 16, unit = "GiB", source = "s" }

[[datasheet.levels]]
name = "L2"
capacity = { value = 512, unit = "KiB", source = "s" }

[[datasheet.links]]
name = "wire"
bandwidth = { value = 20, unit = "GB/s", source = "s" }
direction = "both ways"
kind = "Ethernet"
topology = "torus"
latency = { value = 5, unit = "us", source = "s" }
axes = 2
domain = 64
wraparound = 4
source = "s"

[calibration.unfused]
efficiency = { value = 0.5, unit = "1", source = "fitted" }
launch = { value = 3, unit = "us", source = "fitted" }
call = { value = 40, unit = "us", source = "fitted" }
spread = 0.1
runs = 4
models = 2
date = "2026-01-01"
versions = "v"

[calibration.unfused.kinds]
"depthwise conv" = { value = 0.25, unit = "1", source = "fitted" }

[energy]
main = "RAM"
static_power = { value = 2, unit = "W", source = "s" }

[energy.operations.float32]
add = { value = 1, unit = "pJ", source = "s" }
mul = { value = 3, unit = "pJ", source = "s", doubt = "d" }

[energy.memory]
RAM = { value = 64, unit = "pJ/32bit", source = "s" }
"near by" = { value = 2, unit = "pJ/B", source = "s" }

[energy.composed]
source = "s"
mac = { mul = 1, add = 1 }
div = { mul = 7.5 }

[energy.runs_as]
source = "s"
doubt = "d"
float64 = "float32"

[policy]
source = "s"
fusion = "unfused"
float32_default = "float32"
float32_high = { dtype = "float32", passes = 3 }
float32_highest = "float32"
transcendental_weight = { value = 8, unit = "FLOP", source = "s" }

[policy.vector_runs_as]
source = "s"
bfloat16 = "float32"
"""

MEASURED = """
[measured]
machine = "m"
date = "2020-01-01"
[measured.versions]
jax = "1"
[measured.samples]
"matrix float32" = [1.0, 2.0]
[measured.peaks.matrix]
float32 = { value = 800, unit = "GFLOP/s", source = "timed" }
"""
