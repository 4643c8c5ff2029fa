"""What does a network see?

Data sets become tensors (`datasets`, `readers`), draws are functions of where they are used (`counter`), and views of whole
batches follow from both (`augment`).
"""
