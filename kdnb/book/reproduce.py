"""The whole book at other parameters: train what is missing, run the pages with papermill, build the book from them."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil

from kdnb import devices
from kdnb.book.opening import Parameters, open_results, parameters
from kdnb.errors import IncompleteError, KdnbError, ProfileError
from kdnb.evidence import results
from kdnb.paths import CHECKOUT
from kdnb.progress import Progress, duration
from kdnb.release import diff
from kdnb.scale.estimate import Estimator
from kdnb.study import execute
from kdnb.study.grid import Plan
from kdnb.study.store import Store

ROOT = CHECKOUT
"""Where the notebooks and the book's prose are: not in the installed package."""

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
        IncompleteError: this is no clone of the repository.
    """
    found = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    if not found:
        raise IncompleteError(
            "the pages come with the repository and not with an installed package; clone it (git clone), and call kdnb "
            "reproduce from there"
        )
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
    say: Callable[[str], None] = lambda line: None,
) -> Reproduced:
    """Runs the pages on the asked results, two at a time, and builds the book.

    Args:
        wanted: pages to run; none means all. The others are taken as they are stored.
        store: where runs are; None is the user's.
        out: None is ``_build/reproduce/<profile>``.
        timeout: seconds that a cell may take.
        say: gets the plan, a line at a time, before what it speaks of begins.

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
    found = open_results(asked, opened, before=lambda plan, store: say(training_ahead(plan, store, asked)))
    folder = Path(out) if out else Path("_build") / "reproduce" / found.profile.name
    folder = folder.resolve()
    _require_ours(folder)
    pages = f"{len(wanted or there)} page{'' if len(wanted or there) == 1 else 's'}"
    say(f"{pages} to run, two at a time{', and the book to build' if build else ''}; all of it goes to {folder}")
    source = folder / "source"
    _lay_out(source)
    chosen = tuple(wanted) or tuple(there)
    # The results are there: every page reads them, and only the one that trains live looks into the store.
    given = {"profile": asked.profile, "seeds": ",".join(map(str, found.seeds)), "device": asked.device}
    given |= {"data_root": asked.data_root, "results": str(found.folder.resolve())}
    failed, others = {}, set(psutil.Process().children(recursive=True))
    with _kernels_of_our_own(opened), Progress(len(chosen)) as progress, ThreadPoolExecutor(2) as pool:
        running = {page: pool.submit(_run, page, source, given, timeout) for page in chosen}
        try:
            for page, future in running.items():
                reason = future.result()
                progress.advance(1, page)
                progress.line(f"{page}: {reason or 'done'}")
                if reason:
                    failed[page] = reason
        except KeyboardInterrupt:  # which kernels, in sessions of their own, do not hear
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in running.values()):
                for kernel in set(psutil.Process().children(recursive=True)) - others:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        kernel.kill()
                time.sleep(0.1)
            raise
    if failed:
        page, reason = next(iter(failed.items()))
        raise IncompleteError(
            f"{len(failed)} of {len(chosen)} pages failed; {page}: {reason}; read {source / 'notebooks'}"
        )
    with contextlib.suppress(IncompleteError):  # without published results there is nothing to compare with
        theirs = results.read(results.published(like=found.profile.name))
        (source / "book" / "diff.md").write_text(_diff_page(found, theirs), encoding="utf-8")
    return Reproduced(folder, chosen, _build(source, folder / "html") if build else None)


def training_ahead(plan: Plan, store: Store, asked: Parameters) -> str:
    """What must be trained before the pages can run, and about how long it takes; two batches of each kind are timed."""
    waiting, _ = execute.tasks(plan.study, store)
    missing = sum(len(task.specs) for task in waiting)
    name = f"{plan.study.profile.name}, seeds {', '.join(map(str, plan.study.seeds))}"
    if not missing:
        return f"{name}: all runs are in {store.root}; they are measured first"
    device = devices.choose(asked.device)
    specs = {run.spec.id: run.spec for run in plan.study.every_run}
    estimator = Estimator(plan.datasets, device)
    seconds = sum(estimator.group(task.specs, specs) for task in waiting)
    return (
        f"{name}: {missing} runs to train, about {duration(seconds)} on this machine ({device.type}); stop it whenever you "
        "like, the next call goes on from the last epoch"
    )


@contextlib.contextmanager
def _kernels_of_our_own(store: Store) -> Iterator[None]:
    """For the time of the pages: kernels find the store, are of this interpreter's environment even where the user has another
    kernel named python3, and do not take themselves for watched where this runs in Jupyter."""
    before = dict(os.environ)
    own = Path(sys.prefix) / "share" / "jupyter"
    os.environ["KDNB_STORE"] = str(store.root.resolve())
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(own), before.get("JUPYTER_PATH")]))
    os.environ.pop("JPY_SESSION_NAME", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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
    """Folds the cell in which papermill puts the parameters, as the one with their defaults is, and leaves out what is left of
    progress bars: widgets that need a kernel."""
    notebook = nbformat.read(page, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if WIDGET not in each.get("data", {})]
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-cell"]
    nbformat.write(notebook, page)


def _diff_page(ours: results.Results, theirs: results.Results) -> str:
    differ = diff.caution(ours, theirs)
    return (
        "# Against the published results\n\nThe claims in the results of this book, beside those that were published. "
        f"{diff.RULE}\n\n{differ}\n\n```{{raw}} html\n{diff.table(ours, theirs)}\n```\n"
    )


WIDGET = "application/vnd.jupyter.widget-view+json"
"""the form in which a notebook keeps a widget"""

LINES = 5
"""of a failed build's output that an error shows"""


def _cause(said: str) -> str:
    """What made a build fail: its first warnings and errors, or else the last that it said."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL|\w*(Error|Exception|Warning)): \S", line)]
    return "\n".join(list(dict.fromkeys(named))[:LINES] or lines[-LINES:])


def _build(source: Path, html: Path) -> Path:
    _fresh(html)
    command = [*JUPYTER_BOOK, "build", str(source), "--path-output", str(html), "-q", "-n", "-W"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    index = html / "_build" / "html" / "index.html"
    if done.returncode or not index.is_file():
        raise KdnbError(
            f"the pages ran, but the book could not be built from {source}:\n{_cause(done.stdout + done.stderr)}"
        )
    return index
