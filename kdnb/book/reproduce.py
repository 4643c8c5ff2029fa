"""The whole book at other parameters: train what is missing, run the pages with papermill, build the book from them."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kdnb.book.opening import Parameters, open_results, parameters
from kdnb.errors import IncompleteError, KdnbError, ProfileError
from kdnb.evidence import diff, results
from kdnb.progress import Progress
from kdnb.study.store import Store

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: the notebooks and the book's prose are not in the installed package."""

MARK = ".made-by-kdnb-reproduce"
"""A file that this command leaves in each folder that it makes; it removes no folder without one."""

JUPYTER_BOOK = (sys.executable, "-c", "from jupyter_book.cli.main import main; main()")
"""Its command line, of this interpreter's environment whatever the PATH is."""


@dataclass(frozen=True)
class Reproduced:
    """What came out."""

    folder: Path
    pages: tuple[str, ...]
    index: Path | None
    """the book's first page; None where it was not built"""


def names() -> list[str]:
    """The pages, by name.

    Raises:
        IncompleteError: this is not a checkout of the book.
    """
    found = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    if not found:
        raise IncompleteError(f"no notebooks in {ROOT / 'notebooks'}; kdnb reproduce needs a checkout of the book")
    return found


def parse(profile: str, given: Iterable[str]) -> Parameters:
    """The parameters that a command line names.

    Raises:
        ProfileError: an unknown name; the message lists the right ones.
    """
    values = {"profile": profile}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise ProfileError(f"{each!r} is not NAME=VALUE, as in seeds=0-4")
        values[name] = value
    return parameters(**values)


def reproduce(
    asked: Parameters,
    wanted: Sequence[str] = (),
    *,
    store: str | Path | None = None,
    out: str | Path | None = None,
    timeout: int = 3600,
    build: bool = True,
) -> Reproduced:
    """Runs the pages on the asked results, two at a time, and builds the book.

    Args:
        wanted: pages to run; none means all. The others are taken as they are stored.
        store: where runs are; None is the user's.
        out: None is ``_build/reproduce/<profile>``.
        timeout: seconds that a cell may take.

    Raises:
        ProfileError: no such page, or a folder that holds something else.
        IncompleteError: a page failed; it is kept with its error for reading, and the others are finished.
        KdnbError: the results cannot be made, or the book not be built; what this needs is not installed.
    """
    there = names()
    for page in wanted:
        if page not in there:
            raise ProfileError(f"no page {page!r}; there are {', '.join(there)}")
    if out:
        _require_ours(Path(out))
    for needed in ("ipykernel", "jupyter_book")[: 2 if build else 1]:
        if importlib.util.find_spec(needed) is None:
            raise KdnbError(f"this needs {needed}, which is not installed: pip install kdnb[book]")
    opened = Store(store)
    found = open_results(asked, opened)
    folder = Path(out) if out else Path("_build") / "reproduce" / found.profile.name
    folder = folder.resolve()
    _require_ours(folder)
    source = folder / "source"
    _lay_out(source)
    chosen = tuple(wanted) or tuple(there)
    # The results are there: every page reads them, and only the one that trains live looks into the store.
    given = {"profile": asked.profile, "seeds": ",".join(map(str, found.seeds)), "device": asked.device}
    given |= {"data_root": asked.data_root, "results": str(found.folder.resolve())}
    os.environ["KDNB_STORE"] = str(opened.root.resolve())
    failed = {}
    with Progress(len(chosen)) as progress, ThreadPoolExecutor(2) as pool:
        running = {page: pool.submit(_run, page, source, given, timeout) for page in chosen}
        for page, future in running.items():
            reason = future.result()
            progress.advance(1, page)
            progress.line(f"{page}: {reason or 'done'}")
            if reason:
                failed[page] = reason
    if failed:
        page, reason = next(iter(failed.items()))
        raise IncompleteError(
            f"{len(failed)} of {len(chosen)} pages failed; {page}: {reason}; read {source / 'notebooks'}"
        )
    with contextlib.suppress(IncompleteError):  # without published results there is nothing to compare with
        theirs = results.read(results.published(like=found.profile.name))
        (source / "book" / "diff.md").write_text(_diff_page(found, theirs), encoding="utf-8")
    return Reproduced(folder, chosen, _build(source, folder / "html") if build else None)


def _require_ours(folder: Path) -> None:
    """Raises:
    ProfileError: the folder holds what would be overwritten and no earlier call made."""
    for part in (folder / "source", folder / "html"):
        if part.is_symlink() or (part.exists() and not (part / MARK).is_file()):
            raise ProfileError(
                f"{part} was not made by kdnb reproduce and would be replaced; name another folder (--out), or move it away"
            )


def _fresh(folder: Path) -> None:
    """An empty folder with our mark, in the place of one that has it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).write_text("kdnb reproduce made this folder and replaces it at its next call.\n", encoding="utf-8")


def _lay_out(source: Path) -> None:
    """The book's sources beside the pages that are about to be run."""
    _fresh(source)
    for name in ("_config.yml", "_toc.yml", "CHANGELOG.md", "CITATION.cff", "package.json", "package-lock.json"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "book", source / "book")
    shutil.copytree(ROOT / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns("markdown", ".*"))


def _run(page: str, source: Path, parameters: dict[str, str], timeout: int) -> str:
    """Runs a page; why it failed, or nothing."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    target = source / "notebooks" / f"{page}.ipynb"
    try:
        papermill.execute_notebook(
            str(ROOT / "notebooks" / f"{page}.ipynb"),
            str(target),
            parameters,
            progress_bar=False,
            execution_timeout=timeout,  # in the folder that the call was made in, so that paths mean what they say
            extra_arguments=["--log-level=CRITICAL"],  # of the kernel, whose warnings are about itself
        )
    except papermill.PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return f"a cell took more than {timeout} s; give it more with --timeout"
    except DeadKernelError:
        return "its kernel died, perhaps for want of memory"
    _fold_parameters(target)
    return ""


def _fold_parameters(page: Path) -> None:
    """Folds the cell in which papermill puts the parameters, as the one with their defaults is."""
    notebook = nbformat.read(page, as_version=4)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-cell"]
    nbformat.write(notebook, page)


def _diff_page(ours: results.Results, theirs: results.Results) -> str:
    differ = diff.caution(ours, theirs)
    return (
        "# Against the published results\n\nThe claims in the results of this book, beside those that were published. "
        f"{diff.RULE}\n\n{differ}\n\n```{{raw}} html\n{diff.table(ours, theirs)}\n```\n"
    )


def _build(source: Path, html: Path) -> Path:
    _fresh(html)
    command = [*JUPYTER_BOOK, "build", str(source), "--path-output", str(html), "-q", "-n", "-W"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    index = html / "_build" / "html" / "index.html"
    if done.returncode or not index.is_file():
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise KdnbError(f"the pages ran, but the book could not be built from {source}:\n{last}")
    return index
