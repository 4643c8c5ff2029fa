"""What a folder of published results says of itself to archives: an RO-Crate, which also proves its files.

``ro-crate-metadata.json`` follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): the study, each seed with what made it, and
each file with size and SHA-256. Archives such as Zenodo read it, and so does `kdnb.evidence.integrity`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from kdnb import __version__
from kdnb.evidence.integrity import NAME, root, seeds

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

RECIPES, OWN = "recipes", "augmentations, objectives, measures or claims of the study's own"
"""The folder beside the seeds that has the files which register a user's own, and what such a file holds."""

TYPES = {
    ".py": "text/x-python",
    ".json": "application/json",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".xz": "application/x-xz",
}


ENTRY = {
    "spec.json": "the recipe of a run, whose hash is its id",
    "weights.safetensors": "the network",
    "predictions.safetensors": "its answers to images and views",
    "attention.safetensors": "where it looks",
    "log.json": "its training, epoch by epoch",
    "environment.json": "what trained it, and how it was archived",
}
"""The files of a run, in an archive of a store."""


def describe(folder: Path, earlier: Mapping[str, Any] | None = None, today: date | None = None) -> bytes:
    """The crate of the results that are in a folder.

    Args:
        earlier: what `read` gave before the results were replaced; those that have not changed keep their date.
        today: when they are published; None is now.
    """
    crate = _crate(folder, (today or date.today()).isoformat())
    if earlier is not None:
        same = _crate(folder, root(earlier).get("datePublished", ""))
        crate = same if same == earlier else crate
    return (json.dumps(crate, indent=1, ensure_ascii=False) + "\n").encode()


def _crate(folder: Path, published: str) -> dict[str, Any]:
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    name, data = about["profile"]["name"], about["dataset"]
    of_seeds = [folder / f"seed-{seed}" for seed in seeds(folder)]
    top, *below = (
        [
            file(path.relative_to(folder).as_posix(), path.read_bytes(), FILES)
            for path in sorted(place.iterdir())
            if path.name in FILES
        ]
        for place in (folder, *of_seeds)
    )
    recipes = sorted(path.name for path in (folder / RECIPES).iterdir()) if (folder / RECIPES).is_dir() else []
    top += [file(f"{RECIPES}/{each}", (folder / RECIPES / each).read_bytes(), {each: OWN}) for each in recipes]
    about_all = {
        "name": f"kdnb: results of the study {name}",
        "description": (
            f"A grid of distillation runs on {data['name']} ({data['train']} training images, content hash {data['hash']}), "
            "for the claims of 'Why does Knowledge Distillation Work? Rethink its Attention and Fidelity Mechanism'."
        ),
        "hasPart": [{"@id": each["@id"]} for each in top] + [{"@id": f"{seed.name}/"} for seed in of_seeds],
        "mentions": _one_or_more([{"@id": f"#training-{seed.name}"} for seed in of_seeds]),
    }
    graph = list(top)
    for seed, files in zip(of_seeds, below, strict=True):
        number = seed.name.removeprefix("seed-")
        made = json.loads((seed / "provenance.json").read_text(encoding="utf-8"))
        graph += [
            {
                "@id": f"{seed.name}/",
                "@type": "Dataset",
                "name": f"Seed {number}",
                "description": "The whole grid, trained anew.",
                "hasPart": [{"@id": each["@id"]} for each in files],
            },
            *files,
            _training(name, number, made, f"{seed.name}/"),
        ]
    return _whole(about_all, graph, published)


def archive(
    about: Mapping[str, Any],
    files: list[dict[str, Any]],
    name: str,
    number: str,
    made: Mapping[str, Any],
    published: str,
) -> bytes:
    """The crate of one seed's store in an archive.

    Args:
        about: its name and description.
        files: as `file` gives them.
        name, number, made: profile, seed, and what provenance.json says.
        published: a date.
    """
    parts = {"hasPart": [{"@id": each["@id"]} for each in files], "mentions": {"@id": f"#training-seed-{number}"}}
    crate = _whole({**about, **parts}, [*files, _training(name, number, made, "./")], published)
    return (json.dumps(crate, indent=1, ensure_ascii=False) + "\n").encode()


def _whole(about: Mapping[str, Any], graph: list[dict[str, Any]], published: str) -> dict[str, Any]:
    whole = {
        "@id": "./",
        "@type": "Dataset",
        "name": about["name"],
        "description": about["description"],
        "datePublished": published,
        "license": {"@id": LICENSE},
        "author": {"@id": "#authors"},
        "publisher": {"@id": "#authors"},
        "about": {"@id": PAPER["@id"]},
        "hasPart": about["hasPart"],
        "mentions": about["mentions"],
    }
    itself = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [itself, whole, *graph, *_around()]}


def _one_or_more(items: list[dict[str, str]]) -> list[dict[str, str]] | dict[str, str]:
    """As RO-Crate 1.1 wants it: a single value stands by itself."""
    return items[0] if len(items) == 1 else items


def file(name: str, content: bytes, kinds: Mapping[str, str]) -> dict[str, Any]:
    """What a crate says of a file.

    Args:
        name: its path in the crate.
        kinds: what its last part stands for (`FILES`, `ENTRY`).
    """
    path = PurePosixPath(name)
    return {
        "@id": name,
        "@type": "File",
        "name": path.name,
        "description": kinds[path.name],
        "encodingFormat": TYPES.get(path.suffix, "application/octet-stream"),
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _training(profile: str, number: str, made: Mapping[str, Any], result: str) -> dict[str, Any]:
    """What made a seed: command, commits, machines, hours."""
    environments = made["environments"]
    commits = sorted({str(each["commit"])[:10] for each in environments if each.get("commit")})
    machines = sorted({str(each["processor"]) for each in environments if each.get("processor")})
    hours = sum(run["seconds"] for run in made["runs"].values()) / 3600
    by = f"by commit {', '.join(commits)}" if commits else "by code that no commit has"
    on = f" on {', '.join(machines)}" if machines else ""
    return {
        "@id": f"#training-seed-{number}",
        "@type": "CreateAction",
        "name": f"kdnb run --profile {profile} --seeds {number}",
        "description": f"{len(made['runs'])} runs in {hours:.2f} hours of training{on}, {by}.",
        "instrument": {"@id": "#kdnb"},
        "result": {"@id": result},
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
