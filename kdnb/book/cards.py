"""How to make again what a page shows: the folded card under each exhibit, with command, seeds, data, version and code."""

import html

from kdnb import __version__
from kdnb.evidence import results
from kdnb.evidence.results import Results
from kdnb.study import profile as profiles


def card(found: Results, drawn_by: str) -> str:
    """HTML: folded, how to make again what stands above it.

    Args:
        drawn_by: the public function that drew it, with its module.
    """
    seeds = ",".join(map(str, found.seeds))
    commits = sorted(
        {
            str(commit)[:10]
            for about in found.about["seeds"].values()
            for environment in about["environments"]
            for commit in (environment.get("commit"), *environment.get("earlier_commits", ()))
            if commit
        }
    )
    file, changed = _origin(found)
    data = found.about["dataset"]
    repeated = f"; {data['repeats']}" if data.get("repeats") else ""  # of seeds published earlier nobody counted
    facts = {
        "command": f"<code>{html.escape(f'kdnb reproduce --profile {file} -p seeds={seeds}')}</code>",
        "profile": html.escape(found.profile.name + changed),
        "seeds": seeds,
        "data": html.escape(f"{data['name']}, hash {data['hash']}{repeated}"),
        "kdnb": html.escape(__version__ + (f", runs made by commit {', '.join(commits)}" if commits else "")),
        "drawn by": _function(drawn_by),
    }
    return _folded(f"Profile {found.profile.name}, {seeds_in_words(found)}: how to make this again", facts)


def paper_card(function: str) -> str:
    """HTML: the card of what is drawn from the paper's tables alone."""
    call = f"python -c 'from kdnb.book import exhibits; print(exhibits.{function}().html)'"
    facts = {
        "command": f"<code>{html.escape(call)}</code>",
        "data": "the tables of arXiv 2405.00739v1, in kdnb/data/paper/tables.csv",
        "kdnb": __version__,
        "drawn by": _function(f"kdnb.book.exhibits.{function}"),
    }
    return _folded("The paper's tables: how to make this again", facts)


def seeds_in_words(found: Results) -> str:
    """``seed 2`` or ``seeds 2, 3``."""
    return f"seed{'' if len(found.seeds) == 1 else 's'} {', '.join(map(str, found.seeds))}"


def _function(name: str) -> str:
    """A link to a function's place in the book's reference, from any page."""
    package = name.split(".")[1]
    return f'<a href="../book/api/{package}.html#{name}"><code>{name}</code></a>'


def _folded(summary: str, facts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f'<details class="kdnb-card"><summary>{html.escape(summary)}</summary><dl>{rows}</dl></details>'


def _origin(found: Results) -> tuple[str, str]:
    """What ``--profile`` takes to get these results, and in what they differ from the profile of that name in the package."""
    name = found.profile.name
    if name not in profiles.names():
        return "FILE.yaml", ", a profile of one's own; its settings are in study.json beside the results"
    shipped = results.settings(profiles.load(name), found.about["dataset"]["hash"], {})
    changed = [f"{setting}={ours!r}" for setting, (ours, _) in results.differing(found.settings, shipped).items()]
    return ("FILE.yaml", f" with {', '.join(changed)}") if changed else (name, "")
