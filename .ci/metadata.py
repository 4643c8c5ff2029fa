"""What archives and hosts read, from what the project says in one place each: `make metadata`.

The title, authors, licence and the paper are CITATION.cff's, version and keywords pyproject.toml's, the address _config.yml's.
From them come codemeta.json, .zenodo.json, the address in CITATION.cff and that in the notebook for Colab. As long as the
address is a placeholder, the first three do without one.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import yaml

PLACEHOLDER = "https://github.com/OWNER/"


def read(root: Path) -> dict[str, Any]:
    """What the project says of itself."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    return {"citation": citation, "project": project, "address": address}


def known(address: str) -> str:
    """The address, or nothing if it is the placeholder."""
    return "" if address.startswith(PLACEHOLDER) else address


def codemeta(said: dict[str, Any]) -> dict[str, Any]:
    """CodeMeta 3.0, https://w3id.org/codemeta/3.0."""
    citation, project, address = said["citation"], said["project"], known(said["address"])
    paper = citation["references"][0]
    made = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "description": project["description"],
        "version": project["version"],
        "license": f"https://spdx.org/licenses/{citation['license']}",
        "author": [{"@type": "Organization", "name": each["name"]} for each in citation["authors"]],
        "keywords": project["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "@id": f"https://doi.org/{paper['doi']}",
            "name": paper["title"],
            "author": [
                {"@type": "Person", "givenName": each["given-names"], "familyName": each["family-names"]}
                for each in paper["authors"]
            ],
        },
    }
    return made | ({"codeRepository": address, "issueTracker": f"{address}/issues"} if address else {})


def zenodo(said: dict[str, Any]) -> dict[str, Any]:
    """What Zenodo takes for a release, https://developers.zenodo.org."""
    citation, project, address = said["citation"], said["project"], known(said["address"])
    paper = citation["references"][0]
    arxiv = next(each["value"] for each in paper["identifiers"] if each["value"].startswith("arXiv:"))
    related = [
        {"identifier": paper["doi"], "relation": "isSupplementTo", "resource_type": "publication-article"},
        {"identifier": arxiv, "relation": "isSupplementTo", "resource_type": "publication-preprint"},
    ]
    if address:
        related.append({"identifier": address, "relation": "isDerivedFrom", "resource_type": "software"})
    return {
        "title": citation["title"],
        "description": project["description"],
        "upload_type": "software",
        "version": project["version"],
        "license": citation["license"],
        "access_right": "open",
        "creators": [{"name": each["name"]} for each in citation["authors"]],
        "keywords": project["keywords"],
        "related_identifiers": related,
    }


def with_address(citation: str, address: str) -> str:
    """CITATION.cff with the repository's address, or without one where none is known."""
    citation = re.sub(r"(?m)^repository-code:.*\n", "", citation)
    line = f"repository-code: {address}\n" if known(address) else ""
    return citation.replace("license:", f"{line}license:", 1)


def colab(notebook: str, address: str) -> str:
    """The notebook for Colab, which fetches the repository from that address."""
    there = nbformat.reads(notebook, as_version=4)
    for cell in there.cells:
        cell.source = re.sub(r"(?m)^!git clone .*$", f"!git clone --quiet --depth 1 {address} kdnb", cell.source)
    return str(nbformat.writes(there)) + "\n"


def files(root: Path) -> dict[str, str]:
    """path → content, of all that is made."""
    said = read(root)

    def text(made: dict[str, Any]) -> str:
        return json.dumps(made, indent=2, ensure_ascii=False) + "\n"

    return {
        "codemeta.json": text(codemeta(said)),
        ".zenodo.json": text(zenodo(said)),
        "CITATION.cff": with_address((root / "CITATION.cff").read_text(encoding="utf-8"), said["address"]),
        ".binder/colab.ipynb": colab((root / ".binder/colab.ipynb").read_text(encoding="utf-8"), said["address"]),
    }


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    for name, content in files(here).items():
        (here / name).write_text(content, encoding="utf-8", newline="\n")
