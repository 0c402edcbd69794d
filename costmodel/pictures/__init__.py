"""Pictures, by matplotlib (the extra ``plot``): what is drawn is data that results give, and how it is drawn stands here once.

A chart is a frozen record; ``figure()`` draws it, ``save(path)`` writes an .svg, .png or .pdf file. Nothing is imported before a
picture is asked for. Colours are those that readers who confuse red and green tell apart, and no meaning is in colour alone.
"""

from costmodel.pictures.bars import Bars
from costmodel.pictures.panels import Panels
from costmodel.pictures.roofs import Roof, Roofs, Spot, device_roofs, draw_rooflines, plot_rooflines
from costmodel.pictures.stack import Stack
from costmodel.pictures.style import Chart
from costmodel.pictures.wall import draw_memory_wall, plot_memory_wall

# What other rooms may use.
__all__ = [
    "Bars",
    "Chart",
    "Panels",
    "Roof",
    "Roofs",
    "Spot",
    "Stack",
    "bars",
    "device_roofs",
    "draw_memory_wall",
    "draw_rooflines",
    "panels",
    "plot_memory_wall",
    "plot_rooflines",
    "roofs",
    "stack",
    "style",
    "wall",
]
