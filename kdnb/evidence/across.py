"""What is asked of two studies at once: the conjunction P between ``cpu-draws`` and ``cpu-peers``, and the ladder.

Seeds are paired by *draw*, the images that they were trained on, which is a seed's last digit: a seed that failed is trained
again under its number + 10, on the same draw.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kdnb.errors import IncompleteError
from kdnb.evidence.claims import CONJUNCTION, LADDER, SETS, Across, Rung
from kdnb.evidence.estimands import Contrast, Index
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import LEVEL, interval, sign_flip_p

COLUMNS = ["key", "what", "draws", "effect", "low", "high", "p", "verdict"]


def by_draw(found: Results, effect: Contrast) -> dict[int, float]:
    """draw (0 to 9) → the effect in its seed; without draws whose cells the results lack.

    Raises:
        ValueError: two seeds of one draw.
    """
    index, values = Index(found.table), dict[int, float]()
    if len({seed % 10 for seed in found.seeds}) < len(found.seeds):
        raise ValueError(f"two seeds of {found.profile.name} are of one draw: {list(found.seeds)}")
    for seed in index.seeds:
        value = effect.in_seed(index, seed)
        if value is not None:
            values[seed % 10] = value
    return dict(sorted(values.items()))


def differences(of: Across, first: Results, second: Results) -> list[float]:
    """The effect in the first study − that in the second, for each draw that both have, in order of the draws.

    Raises:
        ValueError: other studies than were declared, or two seeds of one draw.
    """
    if (first.profile.name, second.profile.name) != (of.first, of.second):
        raise ValueError(f"{of.key} is {of.first} − {of.second}, not {first.profile.name} − {second.profile.name}")
    ours, theirs = (by_draw(found, of.effect) for found in (first, second))
    return [ours[draw] - theirs[draw] for draw in ours if draw in theirs]


def conjunction(first: Results, second: Results, declared: Sequence[Across] = CONJUNCTION) -> pd.DataFrame:
    """P: a row for each part, and one for all of them together; columns `COLUMNS`.

    ``draws`` counts the pairs; ``effect`` is their mean difference in accuracy, with the 95 % interval; ``p`` is one-sided, by
    the sign-flip test. That of the whole is the largest of the parts', since all must hold, and a test of each at .05 is one of
    all at .05 (an intersection–union test, Berger 1982). ``verdict``, of the whole alone: *supported*, *not supported*, or
    *pending* with fewer pairs than seeds were declared.

    Raises:
        IncompleteError: no draw that both studies have, with the cells of every part.
        ValueError: as `differences`.
    """
    rows = []
    for part in declared:
        values = differences(part, first, second)
        if not values:
            raise IncompleteError(f"{first.profile.name} and {second.profile.name} share no draw that {part.key} takes")
        low, high = interval(values)
        p = sign_flip_p(values, part.predicted)
        rows.append((part.key, part.what, len(values), float(np.mean(values)), low, high, p, ""))
    p, pairs = max(row[6] for row in rows), min(row[2] for row in rows)
    verdict = "pending" if pairs < SETS["R"].seeds else "supported" if p <= LEVEL else "not supported"
    nothing = float("nan")
    rows.append(("P", " and ".join(part.key for part in declared), pairs, nothing, nothing, nothing, p, verdict))
    return pd.DataFrame(rows, columns=COLUMNS)


SAME_TEACHERS = ("cpu-fit",)
"""rungs whose seeds have the teachers of the base's seeds of the same draw"""

LADDER_COLUMNS = ["key", "what", "declared", "profile", "seeds", "effect", "base", "sign", "as_declared"]


def ladder(base: Results, *rungs: Results, declared: Sequence[Rung] = LADDER) -> pd.DataFrame:
    """The effects that were declared of the ladder, at each rung that has them; columns `LADDER_COLUMNS`. No verdict.

    ``effect`` and ``base`` are means over seeds, at the rung and at the base; of a rung that has the base's teachers, over the
    draws of both. ``sign`` says how the rung's seeds stand to the sign of the base's mean: *consistent* if all have it,
    *reversed* if none has, else *cannot be said*. ``as_declared`` says whether what was declared of the means holds.

    Args:
        base: of ``cpu-draws``.
        rungs: of other profiles of the ladder; what was declared of others gives no row.
    """
    rows = []
    for each in declared:
        for rung in rungs:
            if rung.profile.name not in each.profiles:
                continue
            here, there = by_draw(rung, each.effect), by_draw(base, each.effect)
            paired = rung.profile.name in SAME_TEACHERS
            values = [value for draw, value in here.items() if not paired or draw in there]
            below = [value for draw, value in there.items() if not paired or draw in here]
            if not values or not below:
                continue
            mean, first = float(np.mean(values)), float(np.mean(below))
            alike = [value * first > 0 for value in values]
            sign = "consistent" if all(alike) else "cannot be said" if any(alike) else "reversed"
            holds = {"larger": mean > first, "smaller in size": abs(mean) < abs(first), "as before": mean * first > 0}
            row = (each.effect.key, each.effect.what, each.declared, rung.profile.name, len(values), mean, first, sign)
            rows.append((*row, holds[each.declared]))
    return pd.DataFrame(rows, columns=LADDER_COLUMNS)


def regime(rows: pd.DataFrame) -> str:
    """Whether an effect is peculiar to one scale: *consistent at every rung*, *reversed at* some, or *cannot be said*.

    Args:
        rows: of `ladder`, of one key.
    """
    turned = list(rows.loc[rows["sign"] == "reversed", "profile"])
    if turned:
        return f"reversed at {', '.join(turned)}"
    return "consistent at every rung" if len(rows) and (rows["sign"] == "consistent").all() else "cannot be said"
