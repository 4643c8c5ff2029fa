"""Reference pages that are generated: the table of seeds."""

import re

from kdnb.book import reference
from kdnb.evidence import estimands, results


def test_the_table_of_seeds_has_every_estimand_of_every_seed():
    text = reference.seeds(results.home() / "smoke")
    found = results.read(results.home() / "smoke").judged_by("K").effects
    rows = [line for line in text.splitlines() if line.startswith(("| as plotted", "| one factor", "| added after"))]
    assert len(rows) == len(found)
    for row, effect in zip(rows, found.to_dict("records"), strict=True):
        assert estimands.signed(effect["effect"]) in row
        assert ("**" in row) == effect["primary"]


def test_one_seed_decides_nothing_and_the_page_says_so():
    text = reference.seeds(results.home() / "smoke")
    assert "1 of five seeds: every verdict is *inconclusive*" in text
    assert re.findall(r": \*\*(\w+)\*\*[.;]", text) == ["inconclusive"] * 9


def test_rows_have_as_many_cells_as_their_heading():
    for table in re.findall(r"(?:^\|.*\n)+", reference.seeds(results.home() / "smoke"), re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1


def test_what_grows_adds_up_to_a_seed():
    text = reference.growth("cpu")
    shares = [int(found) for found in re.findall(r"(\d+)% \|$", text.split("| one more")[0], re.MULTILINE)]
    assert abs(sum(shares) - 100) <= 1  # rounded
    assert "| doubling of the side, to 64 px | 300% |" in text  # convolutions: four times the pixels
    assert "| 1 | 1.0 × | 1.0 × |" in text
