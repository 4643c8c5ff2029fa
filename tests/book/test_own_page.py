"""The page "Your own question" does what it says: its files and commands, in their order, in an empty folder."""

import re
import runpy
import shlex

import pandas as pd
import pytest

from kdnb import cli
from kdnb.evidence import claims, judging, measures, table
from kdnb.images import augment
from kdnb.paths import CHECKOUT
from kdnb.ruler import curves
from kdnb.training import objectives

PAGE = CHECKOUT / "book" / "own.md"
FIRST_LOOK = ["--epochs", "5", "--seeds", "0"]
"""what the page itself offers for a first look"""

FILE = r"```\{code-block\} \w+\n:caption: (?P<name>\S+)\n\n(?P<content>.*?)```"
CONSOLE = r"```console\n(?P<console>.*?)```"
BLOCK = re.compile(f"{FILE}|{CONSOLE}", re.DOTALL)


def commands(console):
    """(command, the lines that the page says it prints)"""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, *printed = part.splitlines()
        yield command, printed


def words(line):
    """What a line says before its first number, which is another on each machine."""
    return " ".join(re.split(r"[−+]?\d", line)[0].split())


def perform(command, capsys):
    program, *arguments = shlex.split(command, comments=True)
    if program == "python":
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        assert program == "kdnb"
        cli.main([*arguments, *FIRST_LOOK])
    return capsys.readouterr().out


@pytest.fixture
def followed(tmp_path, monkeypatch, capsys):
    """command → what it printed, and what the page says that it prints"""
    registries = ((each, "own") for each in (augment._recipes, objectives._kinds, measures._measures))
    for module, name in (*registries, (claims, "_own_sets")):
        monkeypatch.setattr(module, name, {})
    monkeypatch.setattr(augment, "_checked", set())
    monkeypatch.chdir(tmp_path)
    done = {}
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["name"]:
            (tmp_path / block["name"]).write_text(block["content"], encoding="utf-8")
            continue
        for command, printed in commands(block["console"]):
            done[command] = perform(command, capsys), printed
    return done


def test_the_page_can_be_followed(followed, tmp_path):
    """One walk, because it trains: what each step printed, and where one's own recipe, objective and measure came out."""
    verbs = [" ".join(command.split()[:2]) for command in followed]
    assert verbs == ["python images.py", "kdnb plan", "kdnb run", "kdnb table", "kdnb table", "python curves.py"]
    for command, (printed, told) in followed.items():
        found = {words(line) for line in printed.splitlines()}
        missing = [line for line in told if line != "…" and words(line) and words(line) not in found]
        assert not missing, command

    rows = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values={"value": [""]})
    assert {"fog+fog", "weak+weak"} <= set(rows["teachers"])
    assert {"weak", "strong", "fog"} <= set(rows["student"])
    assert "fog" in set(rows[rows["student"] == "fog"]["view"])
    assert "corrected" in set(rows["objective"])
    assert set(rows["measure"]) - set(measures.NAMES) == {"same_mistakes"}
    own = rows[rows["measure"] == "same_mistakes"]
    assert set(own["against"]) == {"ensemble"}
    assert set(own["view"]) == {"clean", "weak", "strong", "fog", "own"}
    clean = own[(own["split"] == "validation") & (own["view"] == "clean")].set_index("run")["value"]
    where = {"split": "validation", "view": "clean", "against": "ensemble", "form": "textbook", "measure": "agreement"}
    agreement = table.select(rows, **where).set_index("run")["value"]
    assert (clean > 0).any()
    assert (clean <= agreement[clean.index] + 1e-9).all()  # the same mistakes are some of the same answers

    (mine,) = claims.registered()
    judged = judging.verdicts(judging.effects(rows, mine), mine)
    expected = clean["T1w_T2w_Sf_corrected"] - clean["T1w_T2w_Sf"]
    assert judged["effect"].item() == pytest.approx(expected)
    assert judged["verdict"].item() == "inconclusive"  # of one seed
    specifications = curves.of_table(rows, [claims.K1, *mine.claims])
    for key in ("K1", "M1"):
        assert "same_mistakes" in set(specifications[specifications["claim"] == key]["measure"])
