"""How is it shown?

Results are opened, or trained first (`opening`), drawn (`style`, `figures`, `explorers`), said (`sentences`) and shown
(`exhibits`) on pages (`pages`); the whole book is made again with other parameters (`reproduce`), and its reference writes
itself, from code and results (`reference`) and from what benchmarks measured (`measured`).
"""

from kdnb.book.opening import Parameters, open_results

__all__ = ["Parameters", "open_results"]
