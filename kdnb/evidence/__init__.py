"""What does it say?

The store becomes one tidy table (`table`) of measures (`measures`, `overlap`); declared claims (`claims`), each a question
to that table (`estimands`), are judged by it (`judging`, `statistics`), beside the paper's own numbers (`paper`). Published
`results` are read, and checked, here (`integrity`).
"""

from kdnb.evidence.claims import Claim, ClaimSet
from kdnb.evidence.predictions import Predictions
from kdnb.evidence.results import Results, read
from kdnb.evidence.table import select

__all__ = ["Claim", "ClaimSet", "Predictions", "Results", "read", "select"]
