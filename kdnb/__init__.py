"""kdnb: a reproducible companion to *Why does Knowledge Distillation Work?* (arXiv 2405.00739).

A study is a grid of distillation runs; every run leaves answers and attention maps in a store; every number, figure and
verdict is computed from them. Five packages, each importing only those before it:

images    what a network sees
training  how it learns, and what it leaves
study     what is trained, where it lies, who trains it
evidence  what it says
book      how it is shown
"""

from importlib.metadata import version

__version__ = version("kdnb")
