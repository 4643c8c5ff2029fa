"""The book's figures: one function for each, named after what it shows; it takes a table or arrays and axes, and returns them.

One vocabulary throughout (`kdnb.book.style`). Every seed is a point; where there are several a bar is their mean, and from
three on a line is its 95 % interval. What is not asked for otherwise is of students of the objective ``kd``, or without
teachers, whose teachers have the study's default origin.

Without axes a function makes its own figure (matplotlib's object interface: no window, no global state); `to_svg` turns it
into inline SVG for a page. No statistic is computed here that is not the business of another module.
"""

from kdnb.book.figures.drawing import ENDS, symbols
from kdnb.book.figures.of_attention import alike, attention_maps, deletion_curves, overlap
from kdnb.book.figures.of_augmentation import dial_response, gallery
from kdnb.book.figures.of_cells import by_cell, by_view, distillation_gain
from kdnb.book.figures.of_claims import Strip, by_objective, dose, interaction, specification_curve, strips, trials
from kdnb.book.figures.of_training import learning_curves, pilot_curves, reliability_diagram
from kdnb.book.figures.svg import to_svg

__all__ = [
    "ENDS",
    "Strip",
    "alike",
    "attention_maps",
    "by_cell",
    "by_objective",
    "by_view",
    "deletion_curves",
    "dial_response",
    "distillation_gain",
    "dose",
    "gallery",
    "interaction",
    "learning_curves",
    "overlap",
    "pilot_curves",
    "reliability_diagram",
    "specification_curve",
    "strips",
    "symbols",
    "to_svg",
    "trials",
]
