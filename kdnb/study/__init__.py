"""What is trained, where does it lie, and who trains it?

A profile (`profile`) becomes a grid of cells (`cell`) and runs (`grid`); what the store (`store`) lacks is handed out
(`execute`) and trained (`worker`), here or on any executor, from weights of any origin (`weights`), with what `resources`
there are.
"""

from kdnb.study.cell import Cell, Teacher
from kdnb.study.grid import Plan, Run, Study, plan
from kdnb.study.profile import Profile
from kdnb.study.store import Entry, Store

__all__ = ["Cell", "Entry", "Plan", "Profile", "Run", "Store", "Study", "Teacher", "plan"]
