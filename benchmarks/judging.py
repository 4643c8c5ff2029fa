"""How often the rule judges synthetic studies right, and how often luck alone gives a verdict.

    python benchmarks/judging.py [--studies 2000] [--csv book/calibration/judging.csv]

Two thousand studies with a planted effect, with a planted confound and with noise, judged by the primaries of the declared
claims; and what five seeds can detect. A minute or two on one core. `kdnb.evidence.simulation` says what is planted.
"""

import argparse

import numpy as np
import pandas as pd

from kdnb.evidence import simulation
from kdnb.evidence.statistics import LEVEL, sign_flip_p


def detectable(spread: float, seeds: int, power: float = 0.8, studies: int = 2000) -> float:
    """The smallest effect, in steps of 0.0005, that so many seeds support with this probability."""
    noise = np.random.default_rng(1).standard_normal((studies, seeds)) * spread
    for step in range(1, 400):
        supported = [sign_flip_p(row, 1) <= LEVEL for row in (noise + step * 0.0005).tolist()]
        if np.mean(supported) >= power:
            return step * 0.0005
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--csv", default="book/calibration/judging.csv")
    asked = parser.parse_args()
    rows = []

    def add(question: str, seeds: int, answer: str) -> None:
        rows.append({"question": question, "seeds": seeds, "answer": answer})

    effect, confound, noise = (
        simulation.simulate(scenario, asked.studies) for scenario in ("effect", "confound", "noise")
    )
    keys = [claim.key for claim in simulation.primaries()]
    for words, judged in (("an effect is planted", effect), ("nothing is planted", noise)):
        for verdict in ("supported", "contradicted"):
            shares = [judged.share(key, verdict) for key in keys]
            text = f"{min(shares):.1%} to {max(shares):.1%}, by claim"
            add(f"{words}: a primary is {verdict}", 5, text)
    add("a common cause is planted: the plot of agreement and accuracy has the paper's sign in all seeds", 5,
        f"{confound.plotted.mean():.1%}")  # fmt: skip
    add("the same: the primary, with the student's augmentation taken off, is supported", 5,
        f"{confound.share('K6', 'supported'):.1%}")  # fmt: skip
    add(f"nothing is planted: any verdict at all over the {len(keys)} primaries", 5, f"{noise.any_verdict():.1%}")
    add("the same, by Holm's values", 5, f"{noise.any_verdict(adjusted=True):.1%}")
    eight = simulation.simulate("noise", asked.studies, seeds=8, draw=1)
    add("nothing is planted: any verdict at all", 8, f"{eight.any_verdict():.1%}")
    add("the same, by Holm's values", 8, f"{eight.any_verdict(adjusted=True):.1%}")
    for spread in (0.004, 0.008):
        for seeds in (5, 8):
            smallest = detectable(spread, seeds)
            add(f"the smallest effect that is supported with 80 % probability, if it scatters by {spread:g} over seeds",
                seeds, f"{smallest:.4f}")  # fmt: skip
    pd.DataFrame(rows).to_csv(asked.csv, index=False, lineterminator="\n")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
