"""How is it shown?

Results are opened, or trained first (`opening`), drawn (`style`, `figures`, `explorers`), said (`words`) and shown
(`exhibits`) on pages (`pages`); the whole book is made again with other parameters (`reproduce`), and its reference writes
itself, from code and results (`reference`) and from what benchmarks measured (`measured`).
"""

from kdnb.book.opening import Parameters, open_results
from kdnb.book.words import holds, say

__all__ = ["Parameters", "holds", "open_results", "say"]
