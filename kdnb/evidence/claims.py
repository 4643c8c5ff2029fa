"""The paper's claims, declared as data, and what a table says about each.

Two sets stand here. **K** are the claims as the paper argues them, with its own values beside; they were declared before any
seed that decides them was trained. **R** is what the second round asks: a family of effects, equivalences and questions,
declared when the seeds of ``cpu`` had been seen, and before any seed of the profiles in `SECOND_ROUND`. Nothing is pooled
between the two.

A claim of K has two columns. *As plotted* is the paper's own form: the eight trials of a seed, two teachers each weak or
strong and a weak or a strong student, on training images under each trial's own views, with strength measured as the
student's affinity. It gets a sign in each seed and no p: eight points that share teachers, in two clusters. *One factor at a
time* is a contrast in which one thing differs; of these, one *primary* for each claim gets a verdict
(`kdnb.evidence.judging`), and all else is shown beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, cast

from kdnb.errors import ProfileError
from kdnb.evidence import paper
from kdnb.evidence.estimands import (
    MIXED,
    PAIRS,
    PURE,
    STRONG,
    STUDENTS,
    WEAK,
    Association,
    BestIs,
    Cell,
    Contrast,
    Estimand,
    Measure,
    PaperValue,
    Ratio,
    Sign,
)
from kdnb.evidence.statistics import Kind

PLOTTED, FACTOR, LATER = "as plotted", "one factor at a time", "added after seeds were seen"


@dataclass(frozen=True)
class Claim:
    """What the paper says, how it shows in a table, and what would speak against it."""

    key: str
    statement: str
    """the paper's claim, in few words"""
    where: str
    """where the paper says it"""
    page: str
    """the notebook that shows it"""
    contradiction: str
    """what would count as evidence against it"""
    plotted: tuple[Estimand, ...] = ()
    primary: Estimand | None = None
    margin: float = 0.0
    """an effect whose interval lies within ± this is negligible; in the primary's unit"""
    secondary: tuple[Estimand, ...] = ()
    later: tuple[Estimand, ...] = ()
    """exploratory ones, added when seeds had been seen"""
    note: str = ""
    """our reading, where it is not all of the statement"""
    kind: Kind = "directional"
    """of the primary's test"""
    family: str = ""
    """whose primaries share one .05 by Holm's correction; empty where each is judged alone and Holm's value stands beside"""
    qualification: str = ""
    """what stands in the verdict's line, in clauses; ``{K9.scaled}`` is the mean of the estimand of that key"""
    instead: str = ""
    """what is said in place of the verdict, where the comparison has turned out not to be fair"""


@dataclass(frozen=True)
class ClaimSet:
    """Claims that were declared together."""

    name: str
    version: int
    declared: date
    about: str
    claims: tuple[Claim, ...]
    seen_before: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """profile → seeds that were looked at before: exploratory, never pooled with those after"""
    seeds: int = 0
    """how many were declared: with fewer there is no verdict; 0 for as many as there are"""
    decided_by: str = ""
    """the only profile whose seeds get verdicts; empty for any"""
    exploratory: bool = False
    """asked of seeds that get no verdict"""
    rule: str = "Only the primary (marked *) gets a verdict."

    def __getitem__(self, key: str) -> Claim:
        return next(claim for claim in self.claims if claim.key == key)

    def asked_of(self, profile: str) -> "ClaimSet":
        """The same claims, as a profile's seeds may answer them: with a verdict or without."""
        return replace(self, exploratory=True) if self.decided_by not in ("", profile) else self

    def estimand(self, key: str) -> Estimand:
        """The estimand of a key.

        Raises:
            KeyError: none has it.
        """
        return find(key, (self,))[1]

    def family(self, name: str) -> tuple[Claim, ...]:
        """The claims that share one .05."""
        return tuple(claim for claim in self.claims if claim.family == name and claim.primary is not None)

    def estimands(self) -> list[tuple[Claim, str, bool, Estimand]]:
        """(claim, column, primary, estimand), in the order in which they are shown."""
        found: list[tuple[Claim, str, bool, Estimand]] = []
        for claim in self.claims:
            found += [(claim, PLOTTED, False, each) for each in claim.plotted]
            found += [(claim, FACTOR, True, claim.primary)] if claim.primary else []
            found += [(claim, FACTOR, False, each) for each in claim.secondary]
            found += [(claim, LATER, False, each) for each in claim.later]
        return found


# -- building blocks -------------------------------------------------------------------------------------------------

ACCURACY = Measure("accuracy")
AGREEMENT = Measure("agreement", against="ensemble")
GAP = Measure("train_validation_gap", view="own")
ECE = Measure("calibration_error")
AFFINITY = Measure("affinity", form="paper", view="own")
IOU = Measure("attention_iou", split="train", method="cam-predicted", of_teachers=True)
"""the paper's map and threshold, on training images"""


def _own(measure: Measure) -> Measure:
    """As the paper measures: on training images under the trial's own views."""
    return replace(measure, split="train", view="own")


def _strong_minus_weak(
    key: str, what: str, measure: Measure, predicted: Sign | None, paper_name: str = "", pairs: Sequence[str] = PAIRS
) -> Contrast:
    """Strong − weak students at fixed teachers, the mean over the sets of teachers."""
    share = 1.0 / len(pairs)
    terms = [
        (share if student == STRONG else -share, Cell(pair, student), measure) for pair in pairs for student in STUDENTS
    ]
    value = None
    if paper_name:

        def value(dataset: str) -> float:
            sides = [[(pair, student) for pair in pairs] for student in (STRONG, WEAK)]
            return paper.contrast(paper_name, dataset, *sides)

    return Contrast(what, tuple(terms), predicted, value, key)


def _mixed_minus_pure(
    key: str,
    what: str,
    measure: Measure,
    predicted: Sign | None,
    students: Sequence[str] = STUDENTS,
    paper_name: str = "",
) -> Contrast:
    """Mixed − pure teachers at a fixed student, the mean over students."""
    share = 0.5 / len(students)
    signs = [(share, pair) for pair in MIXED] + [(-share, pair) for pair in PURE]
    terms = tuple((weight, Cell(pair, student), measure) for student in students for weight, pair in signs)
    value = None
    if paper_name:

        def value(dataset: str) -> float:
            sides = [[(pair, student) for pair in pairs for student in students] for pairs in (MIXED, PURE)]
            return paper.contrast(paper_name, dataset, *sides)

    return Contrast(what, terms, predicted, value, key)


def _objectives(
    key: str,
    what: str,
    measure: Measure,
    predicted: Sign | None,
    first: Sequence[str],
    second: Sequence[str],
    cells: Sequence[tuple[str, str]],
    second_measure: Measure | None = None,
    value: PaperValue | None = None,
) -> Contrast:
    """Students of the first objectives − of the second ones, the mean over (teachers, student) cells."""
    terms = []
    for sign, objectives, measured in ((1.0, first, measure), (-1.0, second, second_measure or measure)):
        share = sign / (len(objectives) * len(cells))
        terms += [(share, Cell(pair, student, each), measured) for each in objectives for pair, student in cells]
    return Contrast(what, tuple(terms), predicted, value, key)


def _origins(key: str, what: str, measure: Measure, predicted: Sign | None) -> Contrast:
    """Teachers of two origins − the mean of teachers of one, the same augmentation; the mean over students."""
    weights = (("AB", 1.0), ("AA", -0.5), ("BB", -0.5))
    terms = [
        (0.5 * weight, Cell("weak+weak", student, origins=letters), measure)
        for student in STUDENTS
        for letters, weight in weights
    ]
    return Contrast(what, tuple(terms), predicted, key=key)


def _plot(
    key: str,
    x: Measure,
    y: Measure,
    predicted: Sign,
    names: tuple[str, str] | None,
    what: str,
    within: Literal["", "student"] = "",
) -> Association:
    value = None
    if names:

        def value(dataset: str) -> float:
            return paper.correlation(*names, dataset, within)

    return Association(what, x, y, predicted, within, paper=value, key=key)


def _fixed(
    key: str, what: str, terms: Sequence[tuple[float, Cell]], measure: Measure, predicted: Sign | None
) -> Contrast:
    return Contrast(what, tuple((weight, cell, measure) for weight, cell in terms), predicted, key=key)


WW = tuple(("weak+weak", student) for student in STUDENTS)
WW_SS = tuple((pair, student) for pair in PURE for student in STUDENTS)
WW_STRONG = (("weak+weak", STRONG),)
_PLACES = {"weak+weak": "ww", "strong+weak": "sw", "weak+strong": "ws", "strong+strong": "ss"}
"""what keys call the teachers of the eight trials"""
ALONE_GAIN = [(1.0, Cell("", STRONG, "none")), (-1.0, Cell("", WEAK, "none"))]


def _halves(measure: Measure, first: str, second: str) -> tuple[tuple[float, Cell, Measure], ...]:
    """A measure of weak teachers' attention under two ways of seeing halves, on training images."""
    ways = {"different": ("left+right",), "same": ("left+left", "right+right"), "whole": ("",)}
    terms = []
    for sign, way in ((1.0, first), (-1.0, second)):
        sides = ways[way]
        terms += [(sign / len(sides), Cell("weak+weak", WEAK), replace(measure, against=each)) for each in sides]
    return tuple(terms)


# -- K: the claims as the paper argues them --------------------------------------------------------------------------

K1 = Claim(
    "K1",
    "the student follows its teachers less when augmentation is stronger",
    "6.2, fig. 3, app. B",
    "fidelity",
    "at fixed teachers, strong students agree more with them than weak ones, both on the same clean images",
    plotted=(
        _plot("K1.plot", _own(AGREEMENT), AFFINITY, 1, ("agreement", "affinity"), "r of agreement and affinity"),
        _plot(
            "K1.plot.mi",
            _own(replace(AGREEMENT, name="mutual_information")),
            AFFINITY,
            1,
            None,
            "r of mutual information and affinity",
        ),
        _plot(
            "K1.plot.kl",
            _own(replace(AGREEMENT, name="divergence")),
            AFFINITY,
            -1,
            None,
            "r of KL divergence and affinity",
        ),
    ),
    primary=_strong_minus_weak("K1", "agreement, common clean validation images", AGREEMENT, -1),
    margin=0.01,
    secondary=(
        _strong_minus_weak("K1.weak", "agreement, common weak views", replace(AGREEMENT, view=WEAK), -1),
        _strong_minus_weak("K1.strong", "agreement, common strong views", replace(AGREEMENT, view=STRONG), -1),
        _strong_minus_weak("K1.own", "agreement, each on its own views", replace(AGREEMENT, view="own"), -1),
        _strong_minus_weak(
            "K1.training", "agreement, own training views, as the paper", _own(AGREEMENT), -1, "agreement"
        ),
        _strong_minus_weak(
            "K1.clean-training", "agreement, clean training images", replace(AGREEMENT, split="train"), -1
        ),
        _strong_minus_weak("K1.mi", "mutual information, clean", replace(AGREEMENT, name="mutual_information"), -1),
        _strong_minus_weak("K1.kl", "KL divergence, clean", replace(AGREEMENT, name="divergence"), 1),
        _strong_minus_weak("K1.fit", "accuracy on own training views, for comparison", _own(ACCURACY), None),
    ),
    note="agreement on training views is almost how well the student fits them: in the paper's tables r is .96 to .98",
)

K2 = Claim(
    "K2",
    "students distilled with stronger augmentation generalise better",
    "6.2, fig. 3, table 1",
    "generalisation",
    "at fixed teachers, strong students are less accurate on validation images than weak ones",
    plotted=(_plot("K2.plot", AFFINITY, ACCURACY, -1, ("affinity", "accuracy"), "r of affinity and accuracy"),),
    primary=_strong_minus_weak("K2", "validation accuracy", ACCURACY, 1, "accuracy"),
    margin=0.005,
    secondary=(
        Contrast(
            "validation accuracy, minus what students without teachers gain",
            _strong_minus_weak("", "", ACCURACY, 1).terms + tuple((-w, cell, ACCURACY) for w, cell in ALONE_GAIN),
            None,
            key="K2.beyond-alone",
        ),
        _fixed("K2.alone", "validation accuracy, students without teachers", ALONE_GAIN, ACCURACY, None),
        *(
            _strong_minus_weak(
                f"K2.{_PLACES[pair]}",
                f"validation accuracy, {pair.replace('+', ' and ')} teachers",
                ACCURACY,
                None,
                "accuracy",
                (pair,),
            )
            for pair in PAIRS
        ),
        _fixed(
            "K2.interaction",
            "interaction: the gain with strong teachers − with weak ones",
            [
                (sign * side, Cell(pair, student))
                for pair, sign in (("strong+strong", 1.0), ("weak+weak", -1.0))
                for student, side in ((STRONG, 1.0), (WEAK, -1.0))
            ],
            ACCURACY,
            None,
        ),
    ),
)

K3 = Claim(
    "K3",
    "divergent attention of the teachers causes low fidelity",
    "6.2, app. C",
    "cause",
    "with teachers that see different halves, students agree with them at least as much as with teachers that see the same",
    plotted=(
        _objectives(
            "K3.plot",
            "half − whole images: agreement, own training views",
            replace(_own(AGREEMENT), against="halves"),
            -1,
            ("half-LR",),
            ("kd",),
            WW,
            _own(AGREEMENT),
            lambda dataset: paper.half_minus_whole("agreement", dataset),
        ),
        Contrast(
            "half − whole images: attention IoU, weak training views",
            _halves(replace(IOU, view=WEAK), "different", "whole"),
            -1,
            lambda dataset: paper.half_minus_whole("attention_iou", dataset),
            key="K3.plot.iou",
        ),
        _objectives(
            "K3.plot.gap",
            "half − whole images: train–validation gap",
            GAP,
            None,
            ("half-LR",),
            ("kd",),
            WW,
            value=lambda dataset: paper.half_minus_whole("train_validation_gap", dataset),
        ),
    ),
    primary=_objectives(
        "K3",
        "different − same halves: agreement with whole-image answers, clean",
        AGREEMENT,
        -1,
        ("half-LR",),
        ("half-LL", "half-RR"),
        WW,
    ),
    margin=0.01,
    secondary=(
        _objectives(
            "K3.halves",
            "different − same halves: agreement with the half-image answers, clean",
            replace(AGREEMENT, against="halves"),
            -1,
            ("half-LR",),
            ("half-LL", "half-RR"),
            WW,
        ),
        Contrast(
            "different − same halves: attention IoU, clean training images (check of the manipulation)",
            _halves(IOU, "different", "same"),
            -1,
            key="K3.iou",
        ),
        _objectives(
            "K3.accuracy", "different − same halves: accuracy", ACCURACY, None, ("half-LR",), ("half-LL", "half-RR"), WW
        ),
        _objectives(
            "K3.same",
            "same halves − whole images: agreement, clean",
            AGREEMENT,
            None,
            ("half-LL", "half-RR"),
            ("kd",),
            WW,
        ),
        _objectives("K3.whole", "different halves − whole images: accuracy", ACCURACY, None, ("half-LR",), ("kd",), WW),
    ),
    later=(
        _objectives(
            "K3.teachers",
            "different − same halves: accuracy of the teachers together, as they were seen",
            Measure("teachers_accuracy", against="halves"),
            None,
            ("half-LR",),
            ("half-LL", "half-RR"),
            WW,
        ),
    ),
    note="all halves take away half of what a teacher sees; only different halves make the teachers diverge",
    qualification="two teachers with different halves see the whole image between them, two with the same half do not; "
    "accuracy of what they say together, different − same halves: {K3.teachers}",
    instead="no effect shown (the control is unequal)",
)

_CHANCE = replace(IOU, name="excess_iou")

K4 = Claim(
    "K4",
    "diverse augmentation makes the teachers attend to more different regions",
    "6.1, fig. 2, app. D",
    "attention",
    "teachers of mixed augmentation overlap more in attention than those of one augmentation",
    plotted=(
        _plot("K4.plot", _own(IOU), AFFINITY, 1, ("attention_iou", "affinity"), "r of attention IoU and affinity"),
    ),
    primary=_mixed_minus_pure("K4", "attention IoU, mixed − pure teachers, clean training images", IOU, -1, (WEAK,)),
    margin=0.01,
    secondary=(
        _mixed_minus_pure("K4.chance", "attention IoU beyond chance, mixed − pure teachers", _CHANCE, -1, (WEAK,)),
        _mixed_minus_pure(
            "K4.validation", "the same on clean validation images", replace(IOU, split="validation"), -1, (WEAK,)
        ),
        *(
            _mixed_minus_pure(f"K4.{method}", f"the same by maps {method}", replace(IOU, method=method), -1, (WEAK,))
            for method in ("cam-sum", "cam-true", "grad-cam")
        ),
        _mixed_minus_pure(
            "K4.as-paper",
            "mixed − pure teachers, as the paper at strong students",
            _own(IOU),
            -1,
            (STRONG,),
            "attention_iou",
        ),
        _fixed(
            "K4.teachers",
            "attention IoU, strong − weak teachers",
            [(1.0, Cell("strong+strong", WEAK)), (-1.0, Cell("weak+weak", WEAK))],
            IOU,
            None,
        ),
        _strong_minus_weak(
            "K4.views", "attention IoU, strong − weak views at fixed teachers", _own(IOU), -1, "attention_iou"
        ),
    ),
)

K5 = Claim(
    "K5",
    "teachers whose attention is more diverse make better students",
    "6.1, fig. 2",
    "attention",
    "with students alike, students of teachers that overlap more are the better ones",
    plotted=(
        _plot("K5.plot", _own(IOU), ACCURACY, -1, ("attention_iou", "accuracy"), "r of attention IoU and accuracy"),
    ),
    primary=_plot(
        "K5",
        _own(IOU),
        ACCURACY,
        -1,
        ("attention_iou", "accuracy"),
        "r of attention IoU and accuracy, means of each student augmentation taken off",
        "student",
    ),
    margin=0.1,
    secondary=(
        _origins("K5.origins.iou", "teachers of two origins − of one: attention IoU, clean training images", IOU, -1),
        _origins("K5.origins.accuracy", "teachers of two origins − of one: validation accuracy", ACCURACY, 1),
        _origins("K5.origins.agreement", "teachers of two origins − of one: agreement, clean", AGREEMENT, None),
    ),
    later=(
        _origins(
            "K5.origins.teachers",
            "teachers of two origins − of one: accuracy of the teachers together",
            replace(ACCURACY, of_teachers=True),
            None,
        ),
    ),
    note="setting the teachers' origin changes their diversity and leaves augmentation alone: an intervention",
)


def _alpha(measure: Measure, what: str) -> tuple[Contrast, ...]:
    return tuple(
        _objectives(
            f"K6.alpha-{alpha}.{measure.name}",
            f"α = {alpha} − α = 0.6: {what}",
            measure,
            None,
            (f"alpha-{alpha}",),
            ("kd",),
            WW_STRONG,
        )
        for alpha in ("0.2", "0.9")
    )


K6 = Claim(
    "K6",
    "low fidelity goes with good students: it is no pathology",
    "6.2, fig. 3",
    "pathology",
    "with students alike, students that follow their teachers more are the better ones",
    plotted=(
        _plot("K6.plot", _own(AGREEMENT), ACCURACY, -1, ("agreement", "accuracy"), "r of agreement and accuracy"),
    ),
    primary=_plot(
        "K6",
        _own(AGREEMENT),
        ACCURACY,
        -1,
        ("agreement", "accuracy"),
        "r of agreement and accuracy, means of each student augmentation taken off",
        "student",
    ),
    margin=0.1,
    secondary=(
        Association(
            "the same with agreement on clean validation images", AGREEMENT, ACCURACY, -1, "student", key="K6.clean"
        ),
        _objectives(
            "K6.content.accuracy",
            "answers about the image − mean answers of its class: accuracy",
            ACCURACY,
            None,
            ("kd",),
            ("class-mean",),
            WW_SS,
        ),
        _objectives(
            "K6.content.agreement",
            "answers about the image − mean answers of its class: agreement",
            AGREEMENT,
            None,
            ("kd",),
            ("class-mean",),
            WW_SS,
        ),
        *_alpha(ACCURACY, "accuracy"),
        *_alpha(AGREEMENT, "agreement"),
    ),
    note="the mean answer of its class in place of each answer takes away what is said of this image: an intervention",
    qualification="own training views, where agreement is nearly training accuracy; on clean validation images {K6.clean}",
)

K7 = Claim(
    "K7",
    "better logit matching (z-score) improves generalisation at the cost of fidelity",
    "6.3, fig. 4",
    "matching",
    "students matched by z-score agree more with their teachers than vanilla ones",
    plotted=(
        _objectives("K7.gap", "z-score − vanilla: train–validation gap", GAP, -1, ("zscore",), ("kd",), WW_SS),
        _objectives(
            "K7.training",
            "z-score − vanilla: agreement, own training views",
            _own(AGREEMENT),
            -1,
            ("zscore",),
            ("kd",),
            WW_SS,
        ),
    ),
    primary=_objectives("K7", "z-score − vanilla: agreement, clean", AGREEMENT, -1, ("zscore",), ("kd",), WW_SS),
    margin=0.01,
    secondary=(
        _objectives("K7.accuracy", "z-score − vanilla: validation accuracy", ACCURACY, 1, ("zscore",), ("kd",), WW_SS),
        _objectives(
            "K7.kl",
            "z-score − vanilla: KL divergence, clean",
            replace(AGREEMENT, name="divergence"),
            1,
            ("zscore",),
            ("kd",),
            WW_SS,
        ),
    ),
    note="the mean entropy of the two objectives' targets is matched",
    qualification="the gradient's scale differs as well, so z-score may only pull harder; accuracy {K7.accuracy}",
)

_MIXED_TRIALS, _PURE_TRIALS = (
    tuple(Cell(pair, student) for pair in pairs for student in STUDENTS) for pairs in (MIXED, PURE)
)


def _best_in_paper(dataset: str) -> float:
    accuracy = paper.trials(dataset)["accuracy"]
    mixed = accuracy.index.get_level_values("teachers").isin(MIXED)
    return float(accuracy[mixed].max() - accuracy[~mixed].max())


K8 = Claim(
    "K8",
    "teachers of mixed augmentation make the best students",
    "6.1, tables 1 and G.5",
    "generalisation",
    "at a fixed student, students of mixed teachers are less accurate than those of pure ones",
    plotted=(
        BestIs(
            "best mixed − best pure trial: accuracy",
            _MIXED_TRIALS,
            _PURE_TRIALS,
            ACCURACY,
            1,
            _best_in_paper,
            "K8.best",
        ),
    ),
    primary=_mixed_minus_pure("K8", "validation accuracy, mixed − pure teachers", ACCURACY, 1, paper_name="accuracy"),
    margin=0.005,
    secondary=(
        _mixed_minus_pure("K8.weak", "validation accuracy, weak students", ACCURACY, 1, (WEAK,), "accuracy"),
        _mixed_minus_pure("K8.strong", "validation accuracy, strong students", ACCURACY, 1, (STRONG,), "accuracy"),
        _mixed_minus_pure("K8.agreement", "agreement, clean", AGREEMENT, None),
    ),
    later=(
        _mixed_minus_pure(
            "K8.teachers", "accuracy of the teachers together", replace(ACCURACY, of_teachers=True), None, (WEAK,)
        ),
    ),
    note="the paper's own difference is .002 to .005 at strong students: expect no decision from five seeds",
)

_ENTROPY = _own(Measure("entropy"))

K9 = Claim(
    "K9",
    "stronger augmentation means less overfitting and better calibration",
    "app. H, table H.6",
    "generalisation",
    "at fixed teachers, strong students are worse calibrated on clean images than weak ones",
    plotted=(_plot("K9.plot", _ENTROPY, GAP, -1, None, "r of entropy and gap"),),
    primary=_strong_minus_weak("K9", "calibration error, common clean validation images", ECE, -1, "calibration_error"),
    margin=0.01,
    secondary=(
        _strong_minus_weak("K9.gap", "train–validation gap, own views", GAP, -1, "train_validation_gap"),
        _strong_minus_weak(
            "K9.gap.clean", "train–validation gap, clean training images", replace(GAP, view="clean"), -1
        ),
        _strong_minus_weak("K9.train", "accuracy on clean training images", replace(ACCURACY, split="train"), -1),
        _strong_minus_weak(
            "K9.scaled",
            "calibration error after fitting one temperature",
            replace(ECE, name="calibration_error_scaled"),
            None,
        ),
        _strong_minus_weak(
            "K9.as-released",
            "calibration error as released, augmented training images",
            replace(_own(ECE), form="as-released"),
            -1,
        ),
        _fixed(
            "K9.two",
            "two weak teachers − one: calibration error, strong student",
            [(1.0, Cell("weak+weak", STRONG)), (-1.0, Cell("weak", STRONG))],
            ECE,
            -1,
        ),
    ),
    qualification="calibration error alone is judged; after fitting one temperature {K9.scaled}; accuracy on clean training "
    "images {K9.train}",
)

K10 = Claim(
    "K10",
    "the same holds with three teachers, long-tailed data and transformers",
    "app. E, F",
    "limits",
    "other profiles, of which K1 to K9 are asked, show the opposite",
    note="no estimand of its own: exploratory profiles are asked the same questions",
)


def _control(objective: str, words: str) -> tuple[Contrast, ...]:
    return (
        _objectives(
            f"controls.{objective}.accuracy",
            f"{words} − vanilla: accuracy",
            ACCURACY,
            None,
            (objective,),
            ("kd",),
            WW_STRONG,
        ),
        _objectives(
            f"controls.{objective}.agreement",
            f"{words} − vanilla: agreement, clean",
            AGREEMENT,
            None,
            (objective,),
            ("kd",),
            WW_STRONG,
        ),
    )


CONTROLS = Claim(
    "controls",
    "what of the teachers' help is content, and what is softness",
    "not in the paper",
    "controls",
    "nothing: the paper predicts no sign",
    secondary=(
        _fixed(
            "controls.alone",
            "no teacher − two weak ones: accuracy, strong student",
            [(1.0, Cell("", STRONG, "none")), (-1.0, Cell("weak+weak", STRONG))],
            ACCURACY,
            None,
        ),
        *_control("shuffled", "answers to other images"),
        *_control("untrained", "untrained teachers"),
        *_control("label-smoothing", "smoothed labels"),
    ),
    note="targets of the same mean entropy; weak teachers and a strong student",
)

# -- R: what the second round asks -----------------------------------------------------------------------------------

SECOND_ROUND = ("cpu-draws", "cpu-peers", "cpu-primed", "cpu-25000", "cpu-fit")
"""the profiles that R was declared for; its verdicts are those of the first"""

DRAWS = "draws"
"""the split of the images that a seed is judged on: those of the other draws, in clean views, which neither this seed nor its
origin has seen. ``validation`` are the test images."""

DRAW_ACCURACY, DRAW_AGREEMENT, DRAW_ECE = (replace(each, split=DRAWS) for each in (ACCURACY, AGREEMENT, ECE))


def _both(key: str, on_draws: Contrast) -> tuple[Contrast, Contrast]:
    """A contrast on images of the other draws, and the same on the test images."""
    terms = tuple((weight, cell, replace(measure, split="validation")) for weight, cell, measure in on_draws.terms)
    tests = replace(on_draws, key=f"{key}.test", what=f"{on_draws.what}, on the test images", terms=terms)
    return replace(on_draws, key=key), tests


def _at_ww(
    key: str, what: str, measure: Measure, first: str, second: str, predicted: Sign | None = None, student: str = ""
) -> Contrast:
    """Students of two weak teachers by one objective − by another, the mean of both students, or one of them."""
    cells = tuple(cell for cell in WW if student in ("", cell[1]))
    return _objectives(key, what, measure, predicted, (first,), (second,), cells)


F1 = Claim(
    "F1",
    "diverse augmentation makes the teachers attend to more different regions",
    "6.1, fig. 2, app. D",
    "attention",
    "teachers of mixed augmentation overlap at least as much in attention as those of one augmentation",
    primary=_mixed_minus_pure(
        "F1",
        "attention IoU, mixed − pure teachers, clean training images, maps of the predicted class",
        IOU,
        -1,
        (WEAK,),
    ),
    secondary=(
        _mixed_minus_pure(
            "F1.true", "the same by maps of the true class", replace(IOU, method="cam-true"), -1, (WEAK,)
        ),
    ),
    family="F",
)

_F2, _F2_TEST = _both(
    "F2",
    _strong_minus_weak(
        "", "calibration error, strong − weak students, clean images", DRAW_ECE, -1, "calibration_error"
    ),
)

F2 = Claim(
    "F2",
    "stronger augmentation means better calibration",
    "app. H, table H.6",
    "generalisation",
    "at fixed teachers, strong students are calibrated no better on clean images than weak ones",
    primary=_F2,
    secondary=(
        _F2_TEST,
        _strong_minus_weak(
            "F2.scaled",
            "calibration error after fitting one temperature",
            replace(DRAW_ECE, name="calibration_error_scaled"),
            None,
        ),
    ),
    family="F",
    qualification="after fitting one temperature {F2.scaled}",
)

_F3, _F3_TEST = _both(
    "F3",
    _fixed(
        "",
        "accuracy: (strong − weak students) with strong teachers − the same with weak ones",
        [
            (sign * side, Cell(pair, student))
            for pair, sign in (("strong+strong", 1.0), ("weak+weak", -1.0))
            for student, side in ((STRONG, 1.0), (WEAK, -1.0))
        ],
        DRAW_ACCURACY,
        -1,
    ),
)

F3 = Claim(
    "F3",
    "what the student's augmentation gains is less with strong teachers than with weak ones",
    "ours, from the first study",
    "generalisation",
    "strong students gain as much with strong teachers as with weak ones",
    primary=_F3,
    secondary=(_F3_TEST,),
    family="F",
)

_F4, _F4_TEST = _both(
    "F4",
    _objectives(
        "",
        "accuracy, mean answers of its class − answers about the image, weak teachers",
        DRAW_ACCURACY,
        -1,
        ("class-mean",),
        ("kd",),
        WW,
    ),
)

F4 = Claim(
    "F4",
    "what the teachers' answers say about the image pays",
    "ours, from the first study",
    "pathology",
    "students taught by the mean answer of a class are as accurate as those taught by answers about each image",
    primary=_F4,
    secondary=(
        _F4_TEST,
        _at_ww("F4.agreement", "agreement, the same students", DRAW_AGREEMENT, "class-mean", "kd"),
    ),
    family="F",
)

F5 = Claim(
    "F5",
    "whether strong students follow more or less than weak ones is a matter of the images they are compared on",
    "ours, from the first study",
    "fidelity",
    "strong − weak students' agreement is no larger on strong views than on weak ones",
    primary=Contrast(
        "agreement, strong − weak students: on common strong views − on common weak views, test images",
        tuple(
            (sign * weight, cell, measure)
            for view, sign in ((STRONG, 1.0), (WEAK, -1.0))
            for weight, cell, measure in _strong_minus_weak("", "", replace(AGREEMENT, view=view), None).terms
        ),
        1,
        key="F5",
    ),
    secondary=(
        *(
            _strong_minus_weak(
                f"F5.{view}",
                f"agreement, strong − weak students, common {view} views",
                replace(AGREEMENT, view=view),
                None,
            )
            for view in STUDENTS
        ),
    ),
    family="F",
)

_E1, _E1_TEST = _both(
    "E1",
    _strong_minus_weak(
        "", "accuracy, strong − weak students, an average of four sets", DRAW_ACCURACY, None, "accuracy"
    ),
)

E1 = Claim(
    "E1",
    "averaged over the sets of teachers, strong and weak students differ in accuracy by less than half a point",
    "ours; the paper: 6.2, fig. 3, table 1",
    "generalisation",
    "the average of the four sets is not shown to lie within the margin",
    primary=_E1,
    margin=0.005,
    secondary=(
        *(
            _strong_minus_weak(
                f"E1.{place}",
                f"accuracy, strong − weak students, {pair.replace('+', ' and ')} teachers",
                DRAW_ACCURACY,
                None,
                "accuracy",
                (pair,),
            )
            for pair, place in _PLACES.items()
        ),
        _E1_TEST,
    ),
    kind="equivalence",
    family="E1",
    qualification="an average of four sets of teachers, whose effects are {E1.ww} weak and weak, {E1.sw} strong and weak, "
    "{E1.ws} weak and strong, {E1.ss} strong and strong",
)

_E2, _E2_TEST = _both(
    "E2",
    _mixed_minus_pure("", "accuracy, students of mixed − of pure teachers", DRAW_ACCURACY, None, paper_name="accuracy"),
)

E2 = Claim(
    "E2",
    "students of mixed and of pure teachers differ in accuracy by less than in any of the paper's tables",
    "ours; the paper: 6.1, tables 1 and G.5",
    "generalisation",
    "the difference is not shown to lie within the margin",
    primary=_E2,
    margin=0.0028,
    secondary=(
        _E2_TEST,
        _mixed_minus_pure(
            "E2.teachers",
            "accuracy of the teachers together, mixed − pure",
            replace(DRAW_ACCURACY, of_teachers=True),
            None,
            (WEAK,),
        ),
    ),
    note="the margin is the smallest of the paper's own differences",
    kind="equivalence",
    family="E2",
)

_WAYS = {
    "whole-different": ("whole images − different halves: lost information, and divergence", "kd", "halves-different"),
    "whole-both": ("whole images − both halves: lost information", "kd", "halves-both"),
    "both-different": ("both − different halves: divergence", "halves-both", "halves-different"),
    "same-both": ("same − both halves", "halves-same", "halves-both"),
}

_E3, _E3_TEST = _both(
    "E3",
    _at_ww(
        "",
        "agreement with the whole-image ensemble, different − both halves",
        DRAW_AGREEMENT,
        "halves-different",
        "halves-both",
    ),
)

E3 = Claim(
    "E3",
    "when teachers together see the same, whether they diverge moves agreement with them by less than half a point",
    "ours; the paper: 6.2, app. C",
    "cause",
    "the difference is not shown to lie within the margin",
    primary=_E3,
    margin=0.005,
    secondary=(
        _E3_TEST,
        *(
            _at_ww(f"E3.{way}.{measure.name}", f"{measure.name}, {words}", measure, first, second)
            for measure in (DRAW_AGREEMENT, DRAW_ACCURACY)
            for way, (words, first, second) in _WAYS.items()
        ),
    ),
    note="whole − different halves is the sum of whole − both (lost information) and both − different (divergence)",
    kind="equivalence",
    family="E3",
)

_Q1, _Q1_TEST = _both("Q1", _at_ww("", "accuracy, α = 0.2 − α = 0.6, weak teachers", DRAW_ACCURACY, "alpha-0.2", "kd"))

Q1 = Claim(
    "Q1",
    "does accuracy change when the loss alone raises fidelity?",
    "ours",
    "pathology",
    "a question: no sign is predicted",
    primary=_Q1,
    secondary=(
        _Q1_TEST,
        _at_ww("Q1.agreement", "agreement, α = 0.2 − α = 0.6, weak teachers", DRAW_AGREEMENT, "alpha-0.2", "kd"),
        *(
            _at_ww(
                f"Q1.alpha-{alpha}.{measure.name}",
                f"{measure.name}, α = {alpha} − α = 0.6, weak teachers and a strong student",
                measure,
                f"alpha-{alpha}",
                "kd",
                student=STRONG,
            )
            for alpha in ("0.2", "0.4", "0.9")
            for measure in (DRAW_ACCURACY, DRAW_AGREEMENT)
        ),
    ),
    kind="two-sided",
    family="Q",
)

_Q2, _Q2_TEST = _both(
    "Q2", _at_ww("", "accuracy, z-score at equal pull − vanilla, weak teachers", DRAW_ACCURACY, "zscore-equal", "kd")
)

Q2 = Claim(
    "Q2",
    "does accuracy change when logits are standardised and the pull stays equal?",
    "ours; the paper: 6.3, fig. 4",
    "matching",
    "a question: no sign is predicted",
    primary=_Q2,
    secondary=(
        _Q2_TEST,
        _at_ww("Q2.agreement", "agreement, z-score at equal pull − vanilla", DRAW_AGREEMENT, "zscore-equal", "kd"),
        _at_ww("Q2.zscore.accuracy", "accuracy, z-score − vanilla", DRAW_ACCURACY, "zscore", "kd"),
        _at_ww("Q2.zscore.agreement", "agreement, z-score − vanilla", DRAW_AGREEMENT, "zscore", "kd"),
    ),
    kind="two-sided",
    family="Q",
    qualification="agreement {Q2.agreement}",
)

_COST = _at_ww(
    "P.cost", "accuracy, answers about the image − mean answers of its class", DRAW_ACCURACY, "kd", "class-mean"
)
_GAIN = _fixed(
    "P.gain",
    "accuracy, two weak teachers − none, the mean of both students",
    [
        (0.5 * sign, cell)
        for student in STUDENTS
        for sign, cell in ((1.0, Cell("weak+weak", student)), (-1.0, Cell("", student, "none")))
    ],
    DRAW_ACCURACY,
    None,
)

P = Claim(
    "P",
    "following pays only where the teachers know more than the student",
    "ours; the paper prints no teacher's accuracy",
    "pathology",
    "what is gained by following (P1), or lost by answers that say nothing of the image (P2), is no smaller with peers",
    secondary=(
        _COST,
        _GAIN,
        Ratio("the cost of mean answers over the gain from teachers", _COST, _GAIN, key="P.share"),
    ),
    note="one conjunction of two contrasts between cpu-draws and cpu-peers, paired by draw; both decide, or neither",
    family="P",
)


@dataclass(frozen=True)
class Across:
    """An effect in one study − the same in another, their seeds paired by draw."""

    key: str
    what: str
    effect: Contrast
    first: str
    """a profile"""
    second: str
    predicted: Sign


CONJUNCTION = (
    Across("P1", "accuracy, α = 0.2 − α = 0.6: cpu-draws − cpu-peers", _Q1, "cpu-draws", "cpu-peers", 1),
    Across("P2", "the cost of mean answers: cpu-draws − cpu-peers", _COST, "cpu-draws", "cpu-peers", 1),
)
"""P: supported if both are, one-sided at .05 each, so that both together have no more than .05"""


@dataclass(frozen=True)
class Rung:
    """An effect that the ladder follows, and what was declared of it against ``cpu-draws``; exploratory."""

    effect: Contrast
    declared: Literal["larger", "smaller in size", "as before"]
    profiles: tuple[str, ...]


def _on_pure(key: str, of: Contrast, share: float = 2.0) -> Contrast:
    """A mean over the four sets of teachers, over the two pure ones alone, which every rung has."""
    terms = tuple((share * weight, cell, measure) for weight, cell, measure in of.terms if cell.teachers in PURE)
    return replace(of, key=key, what=f"{of.what}, the two pure sets", terms=terms, paper=None)


LADDER = (
    Rung(
        _on_pure("K2.pure", _strong_minus_weak("", "accuracy, strong − weak students", DRAW_ACCURACY, None)),
        "larger",
        ("cpu-fit",),
    ),
    Rung(_F3, "smaller in size", ("cpu-fit", "cpu-25000")),
    Rung(_F4, "smaller in size", ("cpu-25000",)),
    Rung(cast(Contrast, F1.primary), "as before", ("cpu-25000",)),
    Rung(_on_pure("F5.pure", cast(Contrast, F5.primary)), "as before", ("cpu-fit", "cpu-25000")),
)
"""K2's effect, F3, F4, F1 and F5. ``cpu-fit`` has the teachers of ``cpu-draws``, students of the two pure sets alone, and none
of class means."""

SECONDARY = Claim(
    "secondary",
    "what is shown beside the second round, without a verdict",
    "ours",
    "limits",
    "nothing: no sign decides here",
    secondary=(
        Association(
            "r of agreement and accuracy on clean images, means of each student augmentation taken off",
            DRAW_AGREEMENT,
            DRAW_ACCURACY,
            -1,
            "student",
            key="K6.draws",
        ),
    ),
    note="beside these stand r of agreement in one seed and accuracy in another, the spread of the teachers' answers as a "
    "predictor that needs no student (Wang et al. 2022), and the sampling error over images",
)

_SEEN: dict[str, tuple[int, ...]] = {"cpu-scratch": (0, 1)}

SETS = {
    "K": ClaimSet(
        "K",
        1,
        date(2026, 11, 25),
        "the paper's claims as it argues them",
        (K1, K2, K3, K4, K5, K6, K7, K8, K9, K10, CONTROLS),
        _SEEN,
    ),
    "R": ClaimSet(
        "R",
        1,
        date(2026, 12, 1),
        "what the second round asks",
        (F1, F2, F3, F4, F5, E1, E2, E3, Q1, Q2, P, SECONDARY),
        _SEEN | {"cpu": (2, 3, 4, 5, 6)},
        seeds=7,
        decided_by="cpu-draws",
        rule="Primaries are marked *. F: one-sided,\nHolm over five. E: two one-sided t-tests, each with its own .05. "
        "Q: two-sided, Holm over two. P: across two profiles.\nNo verdict before all seven seeds.",
    ),
}


_own_sets: dict[str, ClaimSet] = {}


def find(key: str, among: Sequence[ClaimSet] = ()) -> tuple[ClaimSet, Estimand]:
    """The estimand of a key, and the set that declares it; of the package's sets and those that somebody registered.

    Raises:
        KeyError: no set has it.
    """
    sets = among or (*SETS.values(), *registered())
    found = [(declared, each) for declared in sets for _, _, _, each in declared.estimands() if each.key == key]
    if not key or not found:
        raise KeyError(f"no estimand of {' or '.join(each.name for each in sets)} has the key {key!r}")
    return found[0]


def register(declared: ClaimSet) -> None:
    """Puts a set of claims of one's own beside those of the paper: ``kdnb table --claims`` judges it after them, and nothing is
    pooled between the two. A file that a profile names under recipes may call it.

    Raises:
        ProfileError: a name of the package's sets; two claims of one key, or a key of the package.
    """
    if declared.name in SETS:
        raise ProfileError(f"{declared.name!r} is a set of claims of the package; call yours otherwise")
    keys = [claim.key for claim in declared.claims]
    taken = {claim.key for each in SETS.values() for claim in each.claims}
    for key in keys:
        if keys.count(key) > 1 or key in taken:
            raise ProfileError(f"the key {key!r} of {declared.name!r} belongs to another claim; choose another")
    _own_sets[declared.name] = declared


def registered() -> tuple[ClaimSet, ...]:
    """The sets that somebody registered."""
    return tuple(_own_sets.values())


def of_profile(profile: str) -> ClaimSet:
    """The claims that a profile's results are judged by first."""
    return sets_of_profile(profile)[0]


def sets_of_profile(profile: str) -> tuple[ClaimSet, ...]:
    """All that its results are judged by, one beside the other and never pooled: the second round is asked K again."""
    names = ("R", "K") if profile in SECOND_ROUND else ("K",)
    return tuple(SETS[name].asked_of(profile) for name in names)
