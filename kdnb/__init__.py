"""kdnb: a reproducible companion to *Why does Knowledge Distillation Work?* (arXiv 2405.00739).

A study is a grid of distillation runs; every run leaves predictions and attention maps in a store; every number is
computed from the store. The way the data goes, one module each::

    study -> execute -> store -> table -> evidence
               datasets, augment, models, train, record ┘
"""

from importlib.metadata import version

__version__ = version("kdnb")
