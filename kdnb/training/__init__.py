"""How does a network learn, and what does it leave?

A run's recipe and its id (`spec`), networks (`models`), what a student minimises (`objectives`), lockstep training (`train`),
and the observations of a finished network (`observe`).
"""

from kdnb.training.models import Network, build
from kdnb.training.objectives import Objective
from kdnb.training.observe import Observations
from kdnb.training.spec import RunSpec
from kdnb.training.train import Trained

__all__ = ["Network", "Objective", "Observations", "RunSpec", "Trained", "build"]
