"""What benchmarks measured, as the book shows it."""

import re

import pandas as pd
import pytest

from kdnb.book import measured
from kdnb.paths import CHECKOUT as ROOT


def test_the_cost_of_a_seed_is_shown_from_its_records(tmp_path):
    (tmp_path / "cost-cpu.csv").write_text(
        "role,runs,tflop,images_per_second,gflops,minutes,share_of_peak,peak_gflops,memory_gb,machine\n"
        "teachers,7,395.2,1010,120,55,0.8,150,1.25,a processor\n"
        "measures,23,,,,5,,150,2.5,a processor\n"
    )
    text = measured.cost(tmp_path).splitlines()
    assert text[0].startswith("**cpu**, a seed on a processor: 1.0 hours")
    assert text[4:6] == [
        "| teachers | 7 | 395.2 | 1,010 | 120 | 80% | 1.25 | 55.0 |",
        "| measures | 23 |  |  |  |  | 2.50 | 5.0 |",
    ]


def test_a_scaling_that_was_measured_is_shown_and_one_that_was_not_says_how(tmp_path):
    assert "python benchmarks/scaling.py" in measured.scaling(tmp_path)
    rows = ["workers,threads,runs,seconds,at_best,machine", "1,1,43,100,1,A processor", "2,1,43,62.5,1.75,A processor"]
    (tmp_path / "scaling-smoke.csv").write_text("\n".join(rows))
    text = measured.scaling(tmp_path)
    assert "**`smoke`** on A processor, 43 runs" in text
    assert "| 2 | 62 | 1.60 × | 1.75 × |" in text


def test_the_released_way_is_compared_by_medians_of_rounds(tmp_path):
    assert "python benchmarks/released.py" in measured.released(tmp_path)
    common = {"group": "teachers", "networks": 4, "machine": "A processor", "threads": 2, "workers": 2}
    common |= {
        "profile": "cpu",
        "precision": "bfloat16",
        "images": 5000,
        "validation_images": 10000,
        "ours": 10,
        "ours_looking": 11,
        "shared": 8,
        "shared_looking": 9,
    }
    rounds = [  # ratios of 2, 3 and 5 in training alone, of 10, 9 and 8 with looks, 1.1, 1.2 and 1.6 over the passes
        {"round": 1, "released": 20, "released_looking": 110, "bare": 10 / 1.1},
        {"round": 2, "released": 30, "released_looking": 99, "bare": 10 / 1.2},
        {"round": 3, "released": 50, "released_looking": 88, "bare": 10 / 1.6},
    ]
    pd.DataFrame([common | each for each in rounds]).to_csv(tmp_path / "released-cpu.csv", index=False)
    text = measured.released(tmp_path)
    assert "**`cpu`, bfloat16**, on A processor, 2 threads, 5,000 images to train on and 10,000 to validate on" in text
    assert "3 rounds:" in text
    rows = [
        line.removeprefix("| ").removesuffix(" |").split(" | ") for line in text.splitlines() if line.startswith("| ")
    ]
    assert rows == [
        ["| teachers (4)"],
        ["training alone, times faster", "3.00 (2.00–5.00)"],
        ["training alone, ours in 2 processes", "3.75 (2.50–6.25)"],
        ["as it runs, times faster", "9.00 (8.00–10.00)"],
        ["as it runs, ours in 2 processes", "11.00 (9.78–12.22)"],
        ["as it runs, with the paper's share of validation images", "3.65 (2.87–5.33)"],
        ["our epochs over their bare passes", "1.20 (1.10–1.60)"],
        ["training alone, if ours were those passes alone", "3.60 (2.20–8.00)"],
    ]


def test_images_from_disk_are_compared_within_each_round(tmp_path):
    assert "python benchmarks/streaming.py" in measured.streaming(tmp_path)
    common = {"machine": "A processor", "threads": 2, "images": 4096, "workers": 1, "kind": "views"}
    rates = [(1, 1000, 3000), (2, 500, 2000), (3, 2000, 3900)]  # ratios of 3, 4 and 1.95
    rows = [common | {"round": number, "torchvision": theirs, "ours": ours} for number, theirs, ours in rates]
    pd.DataFrame(rows).to_csv(tmp_path / measured.STREAMING, index=False)
    text = measured.streaming(tmp_path)
    assert "4,096 images, 3 rounds:" in text
    assert "| 1 | views | 1,000 | 3,000 | 3.00 (1.95–4.00) |" in text


@pytest.mark.parametrize(("profile", "seeds"), [("cpu", {901, 902}), ("cpu-draws", {901})])
def test_the_pilots_meet_the_criteria_that_their_page_states(profile, seeds):
    curves = pd.read_csv(ROOT / "book" / "calibration" / f"pilot-{profile}.csv", keep_default_na=False)
    last = curves[curves["epoch"] == curves.groupby(["seed", "run"])["epoch"].transform("max")]
    assert set(last["seed"]) == seeds
    for _, of_seed in last.groupby("seed"):
        accuracy = of_seed.set_index("run")["validation_accuracy"].astype(float)
        assert accuracy["T1s"] >= accuracy["T1w"]
        assert accuracy["Ss"] >= accuracy["Sw"]
        assert accuracy["T1w_T2w_Sw"] >= accuracy["Sw"] + 0.03


def test_the_pilot_of_transformers_is_what_its_page_says_of_it():
    curves = pd.read_csv(ROOT / "book" / "calibration" / "pilot-cpu-vit.csv", keep_default_na=False)
    last = curves[curves["epoch"] == curves.groupby(["seed", "run"])["epoch"].transform("max")].set_index("run")
    accuracy, epochs = last["validation_accuracy"].astype(float), last["epoch"]
    costs = accuracy["T1w"] - accuracy["T1s"], accuracy["Sw"] - accuracy["Ss"]
    gain = accuracy["T1w_T2w_Sw"] - accuracy["Sw"]
    said = (
        f"costs teachers {costs[0]:.3f} and students alone {costs[1]:.3f}, and two weak teachers are worth {gain:.3f}."
    )
    page = " ".join((ROOT / "book" / "calibration.md").read_text(encoding="utf-8").split())
    assert said.replace("0.", ".") in page
    assert f"with teachers of {epochs['T1w']} epochs" in page
    assert min(costs) > 0
    assert gain < 0.03


def test_profiles_stand_in_the_order_of_their_names():
    text = measured.calibration(ROOT / "book" / "calibration")
    assert re.findall(r"^\*\*`(.+)`\*\*$", text, re.MULTILINE) == ["cpu", "cpu-draws", "cpu-vit"]
