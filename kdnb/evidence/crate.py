"""What a folder of published results says of itself to archives: an RO-Crate, which also proves its files.

``ro-crate-metadata.json`` follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): the study, each seed with what made it, and
each file with size and SHA-256. Archives such as Zenodo read it, and so does `kdnb.evidence.results`, which refuses a file that
is another than was published.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from kdnb import __version__
from kdnb.errors import DamagedResultsError

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


AGAIN = "put it back as it was, or publish its seeds again (kdnb publish)"

_SEED = re.compile("seed-(0|[1-9][0-9]*)")


def seeds(folder: Path) -> tuple[int, ...]:
    """The seeds that have a folder among these results.

    Raises:
        DamagedResultsError: a folder holds a seed or is named like one, and is none by its exact name, as a copy.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if exact := _SEED.fullmatch(path.name):
            found.append(int(exact[1]))
        elif path.name.lower().startswith("seed") or (path / "provenance.json").exists():
            raise DamagedResultsError(f"{path} is no seed's folder by its name, as seed-2 is one; move it elsewhere")
    return tuple(sorted(found))


def require_whole(folder: Path, chosen: Collection[int] | None = None) -> None:
    """Whether what the crate lists is there in its full length, and no seed beside it: of the study and of the chosen or all
    seeds. Reads none of it. Results that were published without a crate pass.

    Raises:
        DamagedResultsError: it is not, or the crate cannot be read.
    """
    files = _files(folder)
    if not files:
        return
    there, listed = set(seeds(folder)), {int(name[1]) for name in map(_SEED.match, files) if name}
    for seed in sorted(there ^ listed if chosen is None else listed & set(chosen) - there):
        if seed in there:
            raise DamagedResultsError(
                f"{folder / f'seed-{seed}'} is not among what was published: {NAME} does not list it; move it"
            )
        raise DamagedResultsError(f"{folder} lacks seed {seed}, which its {NAME} lists; {AGAIN}")
    for name, (_, size) in files.items():
        seed_of = _SEED.match(name)
        if seed_of and chosen is not None and int(seed_of[1]) not in chosen:
            continue
        try:
            length = (folder / name).stat().st_size
        except OSError as error:
            raise DamagedResultsError(f"{folder / name} cannot be read ({error.strerror}); {AGAIN}") from None
        if length != size:
            raise DamagedResultsError(
                f"{folder / name} is not the file that was published: it has {length} of {size} bytes; {AGAIN}"
            )


def require_unchanged(folder: Path, replaced: Collection[str]) -> None:
    """Reads and checks every file that the crate lists, before a new crate proves it.

    Args:
        replaced: names of files and folders that are written anew and may be damaged.

    Raises:
        DamagedResultsError: one is missing or is not the file that was published.
    """
    for name in _files(folder):
        if name.partition("/")[0] not in replaced:
            try:
                require_published(folder, name, (folder / name).read_bytes())
            except OSError as error:
                raise DamagedResultsError(f"{folder / name} cannot be read ({error.strerror}); {AGAIN}") from None


def require_published(folder: Path, name: str, content: bytes) -> None:
    """Checks a file's content against the crate beside it; results that were published without a crate pass.

    Raises:
        DamagedResultsError: it is not the file that was published, or the crate cannot be read.
    """
    files = _files(folder)
    if files and name not in files:
        raise DamagedResultsError(f"{folder / name} is not among what was published: {NAME} does not list it; {AGAIN}")
    if files and hashlib.sha256(content).hexdigest() != files[name][0]:
        raise DamagedResultsError(
            f"{folder / name} is not the file that was published: its hash differs from the one in {NAME}; {AGAIN}"
        )


def _files(folder: Path) -> dict[str, tuple[str, int]]:
    """name → SHA-256 and bytes, of what the crate in a folder lists; empty without a crate."""
    return listed(read(folder) or {"@graph": []}, f"{folder / NAME}", AGAIN)


def listed(crate: Mapping[str, Any], where: str, fix: str) -> dict[str, tuple[str, int]]:
    """name → SHA-256 and bytes, of a crate's files.

    Args:
        where, fix: for the error.

    Raises:
        DamagedResultsError: it does not say them.
    """
    try:
        files = [item for item in crate["@graph"] if item["@type"] == "File"]
        return {str(item["@id"]): (str(item["sha256"]), int(item["contentSize"])) for item in files}
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedResultsError(f"{where} does not say what it lists ({error!r}); {fix}") from None


def read(folder: Path) -> dict[str, Any] | None:
    """The crate in a folder; None where results were published without.

    Raises:
        DamagedResultsError: it cannot be read.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedResultsError(f"{path} cannot be read ({error!r}); {AGAIN}") from None
    return parsed(content, f"{path}", AGAIN)


def parsed(content: bytes, where: str, fix: str) -> dict[str, Any]:
    """A crate as it was written.

    Args:
        where, fix: for the error.

    Raises:
        DamagedResultsError: it is not one.
    """
    try:
        crate = dict(json.loads(content))
        root(crate)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise DamagedResultsError(f"{where} cannot be read ({error!r}); {fix}") from None
    return crate


def root(crate: Mapping[str, Any]) -> dict[str, Any]:
    """What a crate says of the whole."""
    return next(item for item in crate["@graph"] if item["@id"] == "./")


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
