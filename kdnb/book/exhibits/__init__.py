# ruff: noqa: F401
# mypy: implicit-reexport
"""What pages show: a function for each figure, explorer and table, with its caption, its text for those who cannot see it,
and how to make it again.

A page's visible cells call these with the results that it opened, and nothing else: ``exhibits.overlaps(found)``. Drawing is in
`kdnb.book.figures` and `kdnb.book.explorers`, wording that depends on the results in `kdnb.book.sentences`. Where results lack
what an exhibit needs, as those of a grid of one's own may, it says so in its place and the page goes on.
"""

from types import FunctionType

from kdnb.book.exhibits.exhibit import Exhibit
from kdnb.book.exhibits.of_attention import (
    affinity,
    attention,
    deletion,
    dial,
    directions,
    look_for_yourself,
    overlaps,
    typical_maps,
    views,
)
from kdnb.book.exhibits.of_claims import correlations, everything, factors, plot, scores, verdict
from kdnb.book.exhibits.of_ensembles import ensembles
from kdnb.book.exhibits.of_fidelity import by_trial, gain, interaction, learning, reliability, same_views, scatter
from kdnb.book.exhibits.of_interventions import alpha, class_mean, controls, halves, matching
from kdnb.book.exhibits.of_limits import by_map, elsewhere, starts, suspects, unlike
from kdnb.book.exhibits.of_paper import (
    differences,
    ledger,
    paper_contrasts,
    paper_halves,
    paper_held_fixed,
    paper_plot,
    tables,
)
from kdnb.book.exhibits.of_rerun import beside, reruns, twins
from kdnb.book.exhibits.of_ruler import specification_curve, specification_shares, specifications
from kdnb.book.exhibits.of_study import cost, grid, settings

__all__ = [name for name, thing in list(globals().items()) if isinstance(thing, FunctionType | type)]
