"""How often the rule judges synthetic studies right, and how often luck alone gives a verdict.

    python benchmarks/judging.py [--studies 2000] [--folder book/calibration]

Two thousand studies with a planted effect, with a planted confound and with noise, judged by the primaries of the declared
claims K; and what five seeds can detect (judging.csv). Ten thousand of the second round, judged by R (second-round.csv). A
minute or two on one core. `kdnb.ruler.simulation` says what is planted.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from kdnb.evidence import claims, results
from kdnb.evidence.statistics import LEVEL, sign_flip_p
from kdnb.ruler import simulation


def detectable(spread: float, seeds: int, power: float = 0.8, studies: int = 2000) -> float:
    """The smallest effect, in steps of 0.0005, that so many seeds support with this probability."""
    noise = np.random.default_rng(1).standard_normal((studies, seeds)) * spread
    for step in range(1, 400):
        supported = [sign_flip_p(row, 1) <= LEVEL for row in (noise + step * 0.0005).tolist()]
        if np.mean(supported) >= power:
            return step * 0.0005
    return float("nan")


def second_round(studies: int = 10_000) -> pd.DataFrame:
    """Question and answer of the second round: false verdicts where nothing is there, and verdicts missed where something is.

    The spread over seeds, and the size of what is planted, are those of the published seeds of ``cpu``.
    """
    first = simulation.first_study(results.read(results.home() / "cpu"))
    means = {str(key): float(mean) for key, mean in first["mean"].items()}
    family = [claim.key for claim in claims.SETS["R"].family("F")]
    margins = {key: claims.SETS["R"][key].margin for key in ("E1", "E2", "E3")}
    rows = []

    def judged(sizes: dict[str, float], wider: int = 1, peers: dict[str, float] | None = None) -> simulation.Found:
        spread = {str(key): wider * float(each) for key, each in first["spread"].items()}
        return simulation.second_round(sizes, spread, studies, peers)

    def add(question: str, *shares: float) -> None:
        low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
        rows.append({"question": question, "seeds": 7, "answer": low if low == high else f"{low} to {high}, by effect"})

    nothing = judged(margins)
    add("nothing is there: any effect of F is supported, by Holm's values", nothing.any_of(*family))
    add("the same, each judged alone", float(np.any([nothing.alone[key] for key in family], axis=0).mean()))
    add("nothing is there: any question of Q gets a sign", nothing.any_of("Q1", "Q2"))
    add("a difference lies at its margin: it is said to be equivalent", *(nothing.any_of(key) for key in margins))
    add("nothing is there: P is supported", nothing.any_of("P"))
    half = judged({"F4": means["F4"]}, peers={})
    add("one part of P holds, by as much as the first study had, and the other not: P is supported", half.any_of("P"))
    add(
        "nothing is there, and each E lies at its margin: any false verdict in F, E, Q or P",
        nothing.any_of(*nothing.verdicts),
    )
    for wider, words in ((1, "the spread of the first study"), (2, "twice that spread")):
        whole, part = (
            judged({key: share * means[key] for key in (*family, "Q1", "Q2")}, wider, peers={}) for share in (1.0, 0.5)
        )
        add(f"{words}, effects of its size: one of F is supported", *(whole.any_of(key) for key in family))
        add(f"{words}, effects of half its size: one of F is supported", *(part.any_of(key) for key in family))
        add(f"{words}, no difference: it is said to be equivalent", *(whole.any_of(key) for key in margins))
        add(f"{words}, effects of its size: a question of Q gets a sign", *(whole.any_of(key) for key in ("Q1", "Q2")))
        add(f"{words}, effects of its size in cpu-draws and none in cpu-peers: P is supported", whole.any_of("P"))
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=Path("book/calibration"))
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
    for name, table in (("judging", pd.DataFrame(rows)), ("second-round", second_round())):
        table.to_csv(asked.folder / f"{name}.csv", index=False, lineterminator="\n")
        print(table.to_string(index=False))


if __name__ == "__main__":
    main()
