"""What pages show: every exhibit has a caption, a text for those who cannot see it and its card, and says what results lack."""

import html
import re

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from kdnb.book import cards, exhibits, scorecard
from kdnb.book.explorers import Interactive
from kdnb.book.style import styled
from kdnb.evidence import claims, estimands, paper, results
from kdnb.evidence.results import Results, home
from kdnb.evidence.table import select
from kdnb.release import diff
from kdnb.ruler import curves

CLAIMS = [claim.key for claim in claims.SETS["K"].claims if claim.primary is not None]
OF_A_STUDY = [
    "affinity", "alpha", "attention", "by_trial", "class_mean", "controls", "cost", "dial", "ensembles", "gain", "grid",
    "halves", "interaction", "learning", "ledger", "matching", "overlaps", "reliability", "same_views", "scatter", "scores",
    "settings", "specification_shares", "specifications", "starts", "suspects", "typical_maps", "unlike", "views",
]  # fmt: skip
MORE = {"by_trial": ("accuracy",), "ensembles": ("K8",), "typical_maps": ("weak",), "starts": ("cpu-imagenet",)}
OF_THE_PAPER = ["differences", "tables", "paper_contrasts", "paper_halves", "paper_held_fixed", "paper_plot"]


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(home() / "cpu").judged_by("K")


@pytest.fixture(scope="module")
def small() -> Results:
    return results.read(home() / "smoke")


@pytest.fixture(scope="module")
def scratch() -> Results:
    """Of a grid without interventions, made by an earlier version."""
    return results.read(home() / "cpu-scratch").judged_by("K")


@pytest.mark.parametrize("name", OF_A_STUDY)
def test_an_exhibit_has_a_caption_a_text_and_its_card(name: str, small: Results) -> None:
    exhibit = getattr(exhibits, name)(small, *MORE.get(name, ()))
    assert "kdnb-lacking" not in exhibit.html
    assert len(exhibit.caption.split()) >= 6
    assert exhibit.alt.strip()
    assert "kdnb reproduce --profile smoke -p seeds=0" in exhibit.html
    assert f"#kdnb.book.exhibits.{name}" in exhibit.html
    commit = small.about["seeds"][0]["environments"][0]["commit"]
    assert commit[:10] in exhibit.html
    assert exhibit.html == getattr(exhibits, name)(small, *MORE.get(name, ())).html


@pytest.mark.parametrize("name", OF_A_STUDY)
def test_nothing_of_a_drawing_is_cut_off(name: str, found: Results) -> None:
    shown = getattr(exhibits, name)(found, *MORE.get(name, ())).shown
    if isinstance(shown, pd.DataFrame | str | Interactive):
        return
    figure = np.ravel(np.asarray(shown, dtype=object))[0].get_figure(root=True)
    with styled():
        figure.draw_without_rendering()
        for ax in figure.axes:
            words = [ax.xaxis.label, ax.yaxis.label, *ax.texts, *ax.get_yticklabels()]
            for artist in [*filter(None, [ax.get_legend()]), *(each for each in words if each.get_text())]:
                box = artist.get_window_extent()
                assert box.x0 >= figure.bbox.x0 - 1, artist
                assert box.x1 <= figure.bbox.x1 + 1, artist


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_an_exhibit_of_the_papers_tables_needs_no_study(name: str) -> None:
    exhibit = getattr(exhibits, name)()
    assert exhibit.caption
    assert "arXiv 2405.00739v1" in exhibit.html


@pytest.mark.parametrize("key", CLAIMS)
def test_the_curve_of_a_claim_says_how_many_ways_have_the_papers_sign(key: str, small: Results) -> None:
    exhibit = exhibits.specification_curve(small, key)
    row = select(curves.shares(curves.specifications(small)), claim=key).iloc[0]
    assert f"{row['mean']} of {row['specifications']} ways" in exhibit.alt


def test_directions_are_random_and_overlap_little_above_chance(found: Results) -> None:
    iou, chance = map(float, re.findall(r"0\.\d\d", exhibits.directions(found).caption))
    assert abs(iou - chance) < 0.15


@pytest.mark.parametrize("key", CLAIMS)
def test_every_effect_of_a_claim_is_shown_in_every_seed(key: str, found: Results) -> None:
    everything = html.unescape(exhibits.everything(found, key).html)
    for row in select(found.effects, claim=key).to_dict("records"):
        assert row["what"] in everything
        assert estimands.signed(row["effect"]) in everything
    primary = found.claim_set[key].primary
    assert primary is not None
    assert f"<b>{primary.what}</b>" in everything


def test_the_plot_of_a_claim_shows_the_papers_trials_and_ours(found: Results) -> None:
    exhibit = exhibits.plot(found, "K6")
    for dataset in paper.MEASURED:
        assert f"{paper.correlation('agreement', 'accuracy', dataset):+.2f}".replace("-", "−") in exhibit.alt
    ours = select(found.effects, claim="K6", what="r of agreement and accuracy")["effect"].mean()
    assert f"here, r = {ours:+.2f}".replace("-", "−") in exhibit.alt


def test_the_scorecard_has_both_columns_of_every_claim_and_the_scale_of_each_verdict(found: Results) -> None:
    card = html.unescape(scorecard.whole(found))
    for key in CLAIMS:
        claim = found.claim_set[key]
        assert f'href="{claim.page}.html#claim-{key.lower()}"' in card
        assert claim.contradiction in card
        for estimand in (claim.plotted[0], claim.primary):
            assert estimand is not None
            mean = select(found.effects, claim=key, what=estimand.what)["effect"].mean()
            assert f"mean {estimands.signed(mean)}" in card
            assert estimands.papers_in_words(estimand) in card
    # a badge each, and the scale behind each
    assert card.count("reduced scale: 50 images a class") == 2 * len(CLAIMS)


def test_a_hollow_point_lies_on_the_other_side() -> None:
    strip = scorecard._strip([0.02, -0.01], [0.01], 1, "said")
    assert strip.count("kdnb-hollow") == 1
    assert strip.count("kdnb-cross") == 1
    xs = [float(x) for x in re.findall(r'cx="([\d.]+)"', strip)]
    assert xs == [scorecard.WIDTH / 2 + scorecard.HALF, scorecard.WIDTH / 2 - scorecard.HALF / 2]
    side = re.search(r'kdnb-side" x="([\d.]+)"', strip)
    assert side is not None
    assert float(side[1]) == scorecard.WIDTH / 2


@pytest.mark.parametrize("name", ["alpha", "affinity", "overlaps"])
def test_what_results_lack_is_said_in_the_place_of_the_exhibit(name: str, scratch: Results) -> None:
    shown = getattr(exhibits, name)(scratch).html
    assert "Not in these results (cpu-scratch)" in shown
    assert "kdnb-card" not in shown


def test_every_exhibit_of_a_claim_survives_a_grid_that_cannot_decide_it(scratch: Results) -> None:
    for key in CLAIMS:
        for make in (exhibits.factors, exhibits.correlations, exhibits.plot, exhibits.everything, exhibits.verdict):
            assert make(scratch, key).html
    assert exhibits.scores(scratch).html.count("not in these results") >= 2 * len(CLAIMS) - 2


def test_an_effect_without_the_papers_sign_is_listed_and_no_other(found: Results) -> None:
    shown = exhibits.unlike(found).shown
    assert isinstance(shown, pd.DataFrame)
    means = found.verdicts[found.verdicts["predicted"] != 0]
    apart = means[means["effect"] * means["predicted"] <= 0]
    assert len(shown) == len(apart)
    assert list(shown["effect"]) == [estimands.signed(effect) for effect in apart["effect"]]


def test_an_exploratory_study_stands_beside_the_books_own_and_the_paper(found: Results, small: Results) -> None:
    """Each deciding effect, recomputed from the effects, and the paper's of the data set that is named."""
    exhibit = exhibits.elsewhere(found, "smoke", "cifar100-imb100")
    shown = exhibit.shown
    assert isinstance(shown, pd.DataFrame)
    for key, row in shown.iterrows():
        primary = claims.SETS["K"][str(key)].primary
        assert primary is not None
        theirs = select(small.effects, claim=key, what=primary.what)["effect"]
        ours = select(found.effects, claim=key, what=primary.what)["effect"].mean()
        assert (row["seed 0"], row["cpu, mean"]) == (estimands.signed(theirs.iloc[0]), estimands.signed(ours))
        printed = estimands.papers(primary).get("cifar100-imb100")
        assert row["the paper"] == ("" if printed is None else estimands.signed(printed))
    assert list(shown.index) == CLAIMS
    assert (shown["the paper"] != "").any()
    assert "its long tail" in exhibit.caption
    assert "--profile smoke" in exhibit.html
    assert "the paper" not in exhibits.elsewhere(found, "smoke").shown


@pytest.mark.parametrize(
    "profile", ["cpu", "cpu-imagenet", "cpu-lt", "cpu-short", "cpu-short-adamw", "cpu-vit", "smoke"]
)
def test_overlap_by_map_is_what_k4_is_judged_by(profile: str) -> None:
    """A map's difference is the mean effect that K4 declares for it."""
    effects = results.read(home() / profile).judged_by("K").effects
    effects = effects[effects["claim"] == "K4"].groupby("what")["effect"].mean()
    exhibit = exhibits.by_map(profile)
    shown = exhibit.shown
    assert isinstance(shown, pd.DataFrame)
    less = sum(str(each).startswith("−") for each in shown["mixed − pure"])
    assert f"overlap less by {less} of {len(shown)} kinds" in exhibit.caption
    differences = {str(name).split("<code>")[1].split("<")[0]: row for name, row in shown.iterrows()}
    primary = claims.SETS["K"]["K4"].primary
    assert primary is not None
    first = differences["cam-predicted"]
    assert first["mixed − pure"] == estimands.signed(effects[primary.what])
    beyond = effects["attention IoU beyond chance, mixed − pure teachers"]
    assert first["the same beyond chance"] == estimands.signed(beyond)
    study = results.read(home() / profile)
    rows = study.table.query(
        "role == 'ensemble' and form == 'textbook' and split == 'train' and view == 'clean' and against == '' "
        "and method == 'cam-predicted'"
    )
    rows = rows[rows["origin"] == f"{study.profile.origin}+{study.profile.origin}"]
    mean = rows.pivot_table("value", "teachers", "measure")
    above = mean["attention_iou"] - mean["chance_iou"]
    subtracted = above[list(estimands.MIXED)].mean() - above[list(estimands.PURE)].mean()
    assert first["the same, IoU − chance"] == estimands.signed(float(subtracted))
    for method in ("cam-sum", "cam-true", "grad-cam"):
        assert differences[method]["mixed − pure"] == estimands.signed(effects[f"the same by maps {method}"])


def test_the_contrasts_of_the_paper_are_those_of_its_tables() -> None:
    shown = exhibits.paper_contrasts().shown
    assert isinstance(shown, pd.DataFrame)
    # Two cells recomputed by hand from tables 1 and C.2.
    trials = paper.trials("cifar100")
    by_hand = (trials.xs("strong", level="student") - trials.xs("weak", level="student"))["agreement"].mean()
    assert shown.loc["strong − weak student, mean over teachers", "agreement"].startswith(estimands.signed(by_hand))


def test_an_explorer_is_live_where_a_person_runs_the_notebook(small: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    displayed: list[object] = []
    monkeypatch.setattr(exhibits.exhibit, "display", lambda shown, raw=False: displayed.append(shown))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    exhibits.scatter(small)._ipython_display_()
    (data,) = displayed
    assert isinstance(data, dict)
    assert "kdnb-explorer" in data["text/html"]
    displayed.clear()
    monkeypatch.setenv("JPY_SESSION_NAME", "attention.ipynb")
    exhibits.scatter(small)._ipython_display_()
    assert isinstance(displayed[0], ipywidgets.Widget)


def test_a_drawing_without_alt_text_is_refused() -> None:
    with pytest.raises(ValueError, match="alt text"):
        _ = exhibits.Exhibit("bare", Figure().add_subplot(), "a caption").html


def test_a_card_leads_to_the_function_that_drew_it(small: Results) -> None:
    assert 'href="../book/api/book.html#kdnb.book.exhibits.plot"' in cards.card(small, "kdnb.book.exhibits.plot")


def test_teachers_of_another_start_stand_beside_a_control_and_the_pages_own() -> None:
    """Recomputed from the tables by hand: four teachers, and four pairs of them."""
    profiles = "cpu-imagenet", "cpu-short", "cpu-short-adamw", "cpu"
    of_each = [results.read(results.home() / name).judged_by("K") for name in profiles]
    imagenet, short, adamw, found = of_each

    def overlaps(of: Results) -> pd.DataFrame:
        """seed × pair"""
        rows = of.table.query(
            "measure == 'attention_iou' and method == 'cam-predicted' and split == 'train' and view == 'clean' "
            "and form == 'textbook' and against == '' and role == 'ensemble'"
        )
        origin = of.profile.origin
        return rows[rows["origin"] == f"{origin}+{origin}"].pivot_table("value", "seed", "teachers")

    def apart(of: Results) -> pd.Series:
        pairs = overlaps(of)
        mixed, pure = pairs[["weak+strong", "strong+weak"]], pairs[["weak+weak", "strong+strong"]]
        return mixed.mean(axis=1) - pure.mean(axis=1)

    exhibit = exhibits.starts(found, *profiles[:-1])
    shown = exhibit.shown
    assert isinstance(shown, pd.DataFrame)
    assert all(f"kdnb reproduce --profile {name} " in exhibit.html for name in profiles)
    assert list(shown["start"]) == ["ImageNet"] + 3 * ["the same task"]
    assert list(shown["training"]) == ["5 epochs, AdamW", "5 epochs, SGD", "5 epochs, AdamW", "40 epochs, SGD"]
    assert [len(apart(of)) for of in of_each] == [2, 5, 5, 5]
    for of, (_, row) in zip(of_each, shown.iterrows(), strict=True):
        assert row["mixed − pure"] == estimands.signed(apart(of).mean())
        least, most = estimands.signed(apart(of).min()), estimands.signed(apart(of).max())
        assert row["range (seeds)"] == f"{least} to {most} ({len(apart(of))})"
        assert float(row["all pairs"]) == pytest.approx(overlaps(of).to_numpy().mean(), abs=6e-4)
        right = of.table.query(
            "measure == 'accuracy' and role == 'teacher' and split == 'validation' and view == 'clean' and form == 'textbook'"
        )
        right = right[right["origin"] == of.profile.origin]
        for each in ("weak", "strong"):
            assert float(row[f"{each} teachers"]) == pytest.approx(
                right[right["teachers"] == each]["value"].mean(), abs=6e-4
            )

    scratch = exhibits.starts(results.read(results.home() / "cpu-scratch"), "cpu-short").shown
    assert isinstance(scratch, pd.DataFrame)
    assert scratch.loc["<code>cpu-scratch</code>", "mixed − pure"] == ""
    assert not scratch.isin(["nan", "+nan"]).to_numpy().any()

    # What the page says of them in its own words.
    for control in (short, adamw):
        assert (apart(control) < 0).all()
        assert apart(found).mean() < apart(control).mean()
        assert apart(control).mean() < apart(imagenet).mean() < 0
    summed_maps = shown["all pairs, summed maps"].astype(float)
    assert summed_maps["<code>cpu-short-adamw</code>"] > summed_maps["<code>cpu-short</code>"] + 0.05
    summed = adamw.effects.query("claim == 'K4' and what == 'the same by maps cam-sum'")["effect"]
    assert (summed < 0).all()
    assert len(summed) == 5
    assert (apart(imagenet) < 0).all()
    assert sum(abs(apart(imagenet)) < 0.01) == 1
    by_map = exhibits.by_map("cpu-imagenet").shown
    assert isinstance(by_map, pd.DataFrame)
    assert set(by_map["mixed − pure"].str[0]) == {"−"}


def test_a_seed_that_is_trained_again_stands_beside_two_seeds() -> None:
    """Effects and answers recomputed by hand, of each seed that both studies have."""
    again = "cpu-rerun", "cpu-bfloat16"
    found, *others = (results.read(results.home() / name) for name in ("cpu", *again))
    exhibit, twins = exhibits.reruns("cpu", *again), exhibits.twins("cpu", *again)
    shown, alike = exhibit.shown, twins.shown
    assert isinstance(shown, pd.DataFrame)
    assert isinstance(alike, pd.DataFrame)
    assert all(f"kdnb reproduce --profile {name} " in exhibit.html for name in again)

    effects = {of.profile.name: of.judged_by("K").effects for of in (found, *others)}
    for key, row in shown.iterrows():
        primary = claims.SETS["K"][str(key)].primary
        assert primary is not None
        of_seed = {
            name: rows[(rows["claim"] == key) & (rows["what"] == primary.what)].set_index("seed")["effect"]
            for name, rows in effects.items()
        }
        assert row["what decides"] == primary.what
        spread = of_seed["cpu"].to_numpy()
        apart = [abs(one - other) for place, one in enumerate(spread) for other in spread[place + 1 :]]
        assert len(apart) == 10
        assert float(row["two seeds"]) == pytest.approx(np.median(apart), abs=6e-4)
        for of in others:
            for seed in of.seeds:
                moved = of_seed[of.profile.name][seed] - of_seed["cpu"][seed]
                assert row[f"{of.profile.name}, seed {seed}"] == estimands.signed(moved)
    assert "K4" in shown.index

    runs = [f"T{member}{letter}" for member in (1, 2) for letter in "ws"]
    for of in others:
        shares = []
        for seed in of.seeds:
            here, there = found.predictions(seed), of.predictions(seed)
            shares += [
                (here.predicted[here.runs.index(run), 0] == there.predicted[there.runs.index(run), 0]).float().mean()
                for run in runs
            ]
        assert float(alike.loc["teachers", of.profile.name]) == pytest.approx(float(np.mean(shares)), abs=6e-4)


def test_what_the_page_says_of_a_seed_trained_again() -> None:
    again = "cpu-rerun", "cpu-bfloat16"
    rows = diff.moved(*(results.read(results.home() / name) for name in ("cpu", *again)))
    rows = rows.assign(shift=(rows["second"] - rows["first"]).abs())
    rounding, short = (rows[rows["profile"] == name].set_index("claim") for name in again)
    assert list(rounding.index[rounding["shift"] > rounding["usual"]]) == ["K2", "K5", "K8"]
    assert list(rounding.index[rounding["shift"] > 0.02]) == ["K5", "K6"]  # correlations
    assert (short["shift"] < short["usual"]).all()
    assert short["shift"].mean() < rounding["shift"].mean()
    alike = exhibits.twins("cpu", *again).shown
    assert isinstance(alike, pd.DataFrame)
    apart = 1 - alike.astype(float)
    for name in again:
        share = apart[name] / apart["two seeds"]
        assert share["teachers"] < 0.5
        assert 0.7 < share["students alone"] < 1
        assert 0.7 < share["distilled students"] < 1


def test_results_beside_themselves_have_not_moved() -> None:
    shown, alike = exhibits.reruns("cpu", "cpu").shown, exhibits.twins("cpu", "cpu").shown
    assert isinstance(shown, pd.DataFrame)
    assert isinstance(alike, pd.DataFrame)
    assert set(shown[[name for name in shown if name.startswith("cpu, seed")]].to_numpy().ravel()) == {"+0.000"}
    assert set(alike["cpu"]) == {"1.000"}
    assert (alike["two seeds"].astype(float) < 0.9).all()
