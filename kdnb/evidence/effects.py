"""An effect, a value for each seed, that words itself: what a page's sentences are made of.

In an f-string, with ``mixed = found.effect("K4")`` of five seeds:

=======================================  ==========================================================================
``{mixed}``, ``{mixed:+.2f}``            the mean, with its sign: −0.064, −0.06
``{mixed:points}``, ``{mixed:+points}``  its size in hundredths, without and with its sign: 6.4 points, −6.4 points
``{mixed:seeds}``                        in how many seeds it has the mean's sign: in all 5 seeds, in 4 of 5 seeds
``{mixed:each}``                         every seed's value: −0.061, −0.066, …
``{mixed:interval}``                     the 95 % interval over seeds: −0.070 to −0.058
``{mixed:less|about as much|more}``      by the sign that all seeds share: negative, none, positive
``{mixed:as predicted|otherwise}``       whether all seeds have the sign that was predicted
=======================================  ==========================================================================
"""

from dataclasses import dataclass

import numpy as np

from kdnb.evidence.estimands import signed
from kdnb.evidence.statistics import interval

LACKING = "\N{REPLACEMENT CHARACTER}"
"""what an effect that the results lack is written as, so that whoever shows the sentence can see it"""


@dataclass(frozen=True)
class Effect:
    """The effect of one estimand."""

    key: str
    what: str
    values: tuple[float, ...]
    """one for each seed; none where the results lack what it needs"""
    predicted: int = 0
    """the sign that was predicted; 0 for none"""

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def mean(self) -> float:
        """over the seeds; NaN without any"""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def sign(self) -> int:
        """1 or −1 where every seed has it; 0 where they disagree or there is none, and words must not take the mean's side"""
        return next((sign for sign in (1, -1) if self.values and all(value * sign > 0 for value in self.values)), 0)

    def __format__(self, wanted: str) -> str:
        """As the table above.

        Raises:
            ValueError: no such way, as of numbers: what `format` raises.
        """
        if not self.values:
            return LACKING
        if "|" in wanted:
            return self._chosen(wanted.split("|"))
        if wanted.removeprefix("+") == "points":
            size = 100 * self.mean
            return f"{signed(size, 1) if wanted[0] == '+' else signed(abs(size), 1)[1:]} points"
        if wanted == "seeds":
            agree, count = sum(value * self.mean > 0 for value in self.values), len(self.values)
            return (
                "in the one seed"
                if count == 1
                else f"in all {count} seeds"
                if agree == count
                else f"in {agree} of {count} seeds"
            )
        if wanted == "each":
            return ", ".join(signed(value) for value in self.values)
        if wanted == "interval":
            low, high = interval(self.values)
            return f"{signed(low)} to {signed(high)}" if len(self.values) > 1 else "unknown from one seed"
        if not wanted or wanted == "+.3f":
            return signed(self.mean)
        return format(self.mean, wanted).replace("-", "−")

    def _chosen(self, words: list[str]) -> str:
        if len(words) == 3:
            return words[self.sign + 1]
        if len(words) == 2:
            return words[self.sign != self.predicted or not self.predicted]
        raise ValueError(f"{self.key}: choose between two or three ways to say it, not {len(words)}")

    def __str__(self) -> str:
        return format(self)
