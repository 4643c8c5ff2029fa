"""What is trained, where does it lie, and who trains it?

A profile (`profile`) becomes a grid of cells (`cell`) and runs (`grid`); what the store (`store`) lacks is trained on any
executor (`execute`), a cluster's too (`cluster`), at a cost that is known before (`cost`, `estimate`). Locks (`locks`) keep two
processes or machines from training the same run.
"""

from kdnb.study.cell import Cell, Teacher
from kdnb.study.grid import Plan, Run, Study, plan
from kdnb.study.profile import Profile
from kdnb.study.store import Entry, Store

__all__ = ["Cell", "Entry", "Plan", "Profile", "Run", "Store", "Study", "Teacher", "plan"]
