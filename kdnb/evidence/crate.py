"""What a folder of published results says of itself to archives: an RO-Crate, which also proves its files.

``ro-crate-metadata.json`` follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): the study, each seed with what made it, and
each file with size and SHA-256. Archives such as Zenodo read it, and so does `kdnb.evidence.results`, which refuses a file that
is another than was published.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from kdnb import __version__
from kdnb.errors import IncompleteError

NAME = "ro-crate-metadata.json"

LICENSE = "https://spdx.org/licenses/MIT"

FILES = {
    "study.json": "the profile's settings, the data set and its hash",
    "verdicts.csv": "every estimand over the seeds, with interval, p, verdict and scale",
    "explorer.safetensors": "images, attention maps and logits of one seed, for the explorers",
    "weights.safetensors": "the networks of one seed",
    "measures.csv": "the tidy table of measures",
    "specifications.csv.gz": "overlap of attention, measured in every way",
    "predictions.safetensors.xz": "what each network said of each validation image",
    "curves.csv": "the training logs",
    "reliability.csv": "confidence and accuracy in ten bins",
    "dial.csv": "accuracy and affinity against the strength of augmentation",
    "provenance.json": "runs and their ids, commit, machine, seconds",
}
"""The files of a study and of a seed, by name, and what each holds; an archive lists no others."""

TYPES = {".json": "application/json", ".csv": "text/csv", ".gz": "application/gzip", ".xz": "application/x-xz"}


def describe(folder: Path, earlier: Mapping[str, Any] | None = None, today: date | None = None) -> bytes:
    """The crate of the results that are in a folder.

    Args:
        earlier: what `read` gave before the results were replaced; those that have not changed keep their date.
        today: when they are published; None is now.
    """
    crate = _crate(folder, (today or date.today()).isoformat())
    if earlier is not None:
        same = _crate(folder, _root(earlier).get("datePublished", ""))
        crate = same if same == earlier else crate
    return (json.dumps(crate, indent=1, ensure_ascii=False) + "\n").encode()


def require_published(folder: Path, name: str, content: bytes) -> None:
    """Checks a file's content against the crate beside it; results that were published without a crate pass.

    Raises:
        IncompleteError: it is not the file that was published, or the crate cannot be read.
    """
    hashes = {item["@id"]: item.get("sha256") for item in (read(folder) or {"@graph": []})["@graph"]}
    if name in hashes and hashlib.sha256(content).hexdigest() != hashes[name]:
        raise IncompleteError(
            f"{folder / name} is not the file that was published: its hash differs from the one in {NAME}; publish its seeds "
            "again (kdnb publish)"
        )


def read(folder: Path) -> dict[str, Any] | None:
    """The crate in a folder; None where results were published without.

    Raises:
        IncompleteError: it cannot be read.
    """
    path = folder / NAME
    try:
        crate = json.loads(path.read_text(encoding="utf-8"))
        _root(crate)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise IncompleteError(f"{path} cannot be read ({error!r}); publish the seeds again (kdnb publish)") from None
    return dict(crate)


def _root(crate: Mapping[str, Any]) -> dict[str, Any]:
    return next(item for item in crate["@graph"] if item["@id"] == "./")


def _crate(folder: Path, published: str) -> dict[str, Any]:
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    name, data = about["profile"]["name"], about["dataset"]
    seeds = sorted((path.parent for path in folder.glob("seed-*/provenance.json")), key=lambda path: int(path.name[5:]))
    top = [_file(folder, path) for path in sorted(folder.iterdir()) if path.name in FILES]
    below = {seed: [_file(folder, path) for path in sorted(seed.iterdir()) if path.name in FILES] for seed in seeds}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"kdnb: results of the study {name}",
        "description": (
            f"A grid of distillation runs on {data['name']} ({data['train']} training images, content hash {data['hash']}), "
            "for the claims of 'Why does Knowledge Distillation Work? Rethink its Attention and Fidelity Mechanism'."
        ),
        "datePublished": published,
        "license": {"@id": LICENSE},
        "author": {"@id": "#authors"},
        "publisher": {"@id": "#authors"},
        "about": {"@id": PAPER["@id"]},
        "hasPart": [{"@id": each["@id"]} for each in top] + [{"@id": f"{seed.name}/"} for seed in seeds],
        "mentions": _one_or_more([{"@id": f"#training-{seed.name}"} for seed in seeds]),
    }
    graph: list[dict[str, Any]] = [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        root,
        *top,
    ]
    for seed, files in below.items():
        number = seed.name.removeprefix("seed-")
        graph += [
            {
                "@id": f"{seed.name}/",
                "@type": "Dataset",
                "name": f"Seed {number}",
                "description": "The whole grid, trained anew.",
                "hasPart": [{"@id": each["@id"]} for each in files],
            },
            *files,
            _training(seed, name, number),
        ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [*graph, *_around()]}


def _one_or_more(items: list[dict[str, str]]) -> list[dict[str, str]] | dict[str, str]:
    """As RO-Crate 1.1 wants it: a single value stands by itself."""
    return items[0] if len(items) == 1 else items


def _file(folder: Path, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "@id": path.relative_to(folder).as_posix(),
        "@type": "File",
        "name": path.name,
        "description": FILES[path.name],
        "encodingFormat": TYPES.get(path.suffix, "application/octet-stream"),
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _training(seed: Path, profile: str, number: str) -> dict[str, Any]:
    """What made a seed: command, commits, machines, hours."""
    made = json.loads((seed / "provenance.json").read_text(encoding="utf-8"))
    environments = made["environments"]
    commits = sorted({str(each["commit"])[:10] for each in environments if each.get("commit")})
    machines = sorted({str(each["processor"]) for each in environments if each.get("processor")})
    hours = sum(run["seconds"] for run in made["runs"].values()) / 3600
    by = f"by commit {', '.join(commits)}" if commits else "by code that no commit has"
    on = f" on {', '.join(machines)}" if machines else ""
    return {
        "@id": f"#training-{seed.name}",
        "@type": "CreateAction",
        "name": f"kdnb run --profile {profile} --seeds {number}",
        "description": f"{len(made['runs'])} runs in {hours:.2f} hours of training{on}, {by}.",
        "instrument": {"@id": "#kdnb"},
        "result": {"@id": f"{seed.name}/"},
    }


PAPER = {
    "@id": "https://doi.org/10.1016/j.eswa.2024.125579",
    "@type": "ScholarlyArticle",
    "name": "Why does Knowledge Distillation Work? Rethink its Attention and Fidelity Mechanism",
    "sameAs": "https://arxiv.org/abs/2405.00739",
}


def _around() -> list[dict[str, Any]]:
    """What the crate refers to."""
    return [
        {"@id": "#kdnb", "@type": "SoftwareApplication", "name": "kdnb", "version": __version__},
        {"@id": "#authors", "@type": "Organization", "name": "the kdnb authors"},
        {"@id": LICENSE, "@type": "CreativeWork", "name": "MIT License", "description": "The MIT licence."},
        PAPER,
    ]
