"""What does a network see?

Data sets become tensors (`datasets`, `readers`, `decode`), draws are functions of where they are used (`counter`), and views of
whole batches follow from both (`augment`).
"""

from kdnb.images.augment import register, views
from kdnb.images.counter import Purpose, Stream
from kdnb.images.datasets import Dataset, Split, load

__all__ = ["Dataset", "Purpose", "Split", "Stream", "load", "register", "views"]
