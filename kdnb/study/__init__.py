"""What is trained, where does it lie, and who trains it?

A profile (`profile`) becomes a grid of cells (`cell`) and runs (`grid`); what the store (`store`) lacks is trained on any
executor (`execute`), at a cost that is known before (`estimate`).
"""
