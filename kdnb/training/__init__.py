"""How does a network learn, and what does it leave?

A run's recipe and its id (`spec`), networks (`models`), what a student minimises (`objectives`), lockstep training (`train`),
and the observations of a finished network (`observe`).
"""
