"""Kills and flipped bytes: does anything that is lost or damaged come to light?

    make campaign      or      python benchmarks/campaign.py [--kills 50] [--flips 200] [--seed 0]

Two questions, each asked of a real study, small enough to be trained hundreds of times (a folder of digits, two teachers, a
reference and three students, three epochs):

kills
    The study is trained, published and archived by a process that is killed with SIGKILL again and again, at moments drawn at
    random within its training, observing, writing, publishing and archiving; then it is let finish. Every file of the store's
    runs, of the published results and the archive must be the one that an undisturbed process leaves, to the last bit. (Clocks
    stand still in these processes, so that measured seconds do not differ.)
flips
    One byte of one file is changed: of a run, of a checkpoint, of published results, of an archive, of the cache of decoded
    images. Reading must find it (a run or checkpoint is set aside, a cached image is decoded again, results and archives are
    refused in one line), or
    give exactly what it gave before (a byte that nothing depends on). Anything else is counted as silent, or as a crash.

The exit status is 1 where one result differs, one byte passes silently, or one reader crashes. Needs a system with fork.

Figures, in full, 234 s on two cores:

    kills: 50 (10 training, 9 observing, 9 writing, 11 publishing, 11 archiving) over 10 studies of 55 files: 0 files differ
    flips: 200 bytes        found  harmless  silent  crash
      run (42 files)           40         0       0      0
      checkpoint (1 file)      40         0       0      0
      results (12 files)       35         5       0      0
      archive (1 file)         40         0       0      0
      cache (1 file)           40         0       0      0
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image

from kdnb import cli
from kdnb.errors import KdnbError
from kdnb.evidence import results
from kdnb.images import datasets
from kdnb.release import archive
from kdnb.study import execute, store
from kdnb.training.checkpoint import Checkpoints, digest

STAGES = ("training", "observing", "writing", "publishing", "archiving")

PROFILE = """\
name: campaign
dataset: {{name: "imagefolder:{images}", size: 32}}
seeds: [0]
teacher: &network
  model: {{name: resnet8-w8}}
  train: {{epochs: 3, batch_size: 32, learning_rate: 0.05, schedule: {{kind: one-cycle}}}}
student: *network
grid:
  - {{teachers: [[]]}}
  - {{teachers: [[weak, strong]], students: [weak]}}
observe: {{maps: 40, train_sample: 60}}
"""


@dataclass(frozen=True)
class Place:
    """Where one copy of the study lies."""

    root: Path
    profile: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def archives(self) -> Path:
        return self.root / "archives"


def lay_out(root: Path) -> Path:
    """Writes a folder of images, 20 of each digit, and the profile of a study on it; returns the profile."""
    digits = datasets.load("digits")
    for split, part in (("train", digits.train), ("test", digits.validation)):
        seen: Counter[int] = Counter()
        for image, label in zip(part.pixels(), part.labels.tolist(), strict=True):
            seen[label] += 1
            if seen[label] <= 20:
                folder = root / "images" / split / digits.classes[label]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{seen[label]:02d}.png")
    profile = root / "campaign.yaml"
    profile.write_text(PROFILE.format(images=root / "images"), encoding="utf-8")
    return profile


# -- kills -----------------------------------------------------------------------------------------------------------


def _told(channel: int, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with a line on the channel before and after it."""

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        os.write(channel, f"+{stage}\n".encode())
        try:
            return function(*arguments, **keywords)
        finally:
            os.write(channel, f"-{stage}\n".encode())

    return wrapped


def _work(place: Place, channel: int) -> NoReturn:
    """In a child: trains and publishes the study, and never returns."""
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        log = os.open(place.root / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        time.perf_counter = lambda: 0.0  # seconds are measured with it, and nothing else
        parts: tuple[tuple[Any, str, str], ...] = (
            (execute, "train", "training"), (execute, "observe", "observing"), (store.Store, "write", "writing")
        )  # fmt: skip
        for holder, name, stage in parts:
            setattr(holder, name, _told(channel, stage, getattr(holder, name)))
        study = ["--profile", str(place.profile), "--store", str(place.store)]
        cli.main(["run", *study, "--device", "cpu", "--threads", "1"])
        publish = _told(channel, "publishing", cli.main)
        publish(["publish", *study, "--results", str(place.results), "--uncommitted"])
        _told(channel, "archiving", cli.main)(["archive", *study, "--to", str(place.archives)])
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0) if isinstance(stop.code, int | None) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@dataclass
class Life:
    """A process that trains and publishes the study."""

    place: Place
    child: int = 0
    _lines: Any = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """of each time that a stage was gone through"""

    def begin(self) -> None:
        listen, tell = os.pipe()
        self.place.root.mkdir(parents=True, exist_ok=True)
        self.child = os.fork()
        if self.child == 0:
            os.close(listen)
            _work(self.place, tell)
        os.close(tell)
        self._lines = os.fdopen(listen)

    def stages(self) -> Iterator[str]:
        """``+stage`` and ``-stage`` as they come, until the process ends."""
        began: dict[str, float] = {}
        for line in self._lines:
            mark, stage = line[0], line[1:].strip()
            if mark == "+":
                began[stage] = time.perf_counter()
            else:
                self.seconds.setdefault(stage, []).append(time.perf_counter() - began[stage])
            yield mark + stage

    def end(self) -> int:
        """Waits; the exit status, negative for a signal."""
        self._lines.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])

    def kill(self) -> bool:
        """Kills it; whether it was still alive."""
        os.kill(self.child, signal.SIGKILL)
        return self.end() == -signal.SIGKILL


def whole(place: Place) -> Life:
    """An undisturbed life."""
    life = Life(place)
    life.begin()
    for _ in life.stages():
        pass
    status = life.end()
    if status:
        raise SystemExit(f"the study failed with status {status}: {(place.root / 'said.txt').read_text()[-2000:]}")
    return life


def cut_short(place: Place, stage: str, entry: int, after: float) -> bool:
    """A life that is killed `after` seconds within the `entry`-th time that it comes to a stage; False if it ended before."""
    life = Life(place)
    life.begin()
    for mark in life.stages():
        entry -= mark == f"+{stage}"
        if entry == 0:
            time.sleep(after)
            return life.kill()
    status = life.end()
    if status:
        raise SystemExit(f"the study failed with status {status}: {(place.root / 'said.txt').read_text()[-2000:]}")
    return False


def fingerprint(place: Place) -> dict[str, str]:
    """path → SHA-256, of every file of the store's runs, of the results and the archive."""
    files = [*(place.store / "runs").glob("[!.]*/*"), *(p for p in place.results.rglob("*") if p.is_file())]
    files += place.archives.glob("*.zip")
    return {path.relative_to(place.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kills(root: Path, original: Life, wanted: int, chance: random.Random) -> bool:
    """Kills and compares; whether all came out as the undisturbed life left it."""
    usual, expected = original.seconds, fingerprint(original.place)
    done: Counter[str] = Counter()
    rounds, differing, left = 0, 0, 0
    while sum(done.values()) < wanted:
        place = Place(root / f"round-{rounds}", original.place.profile)
        for stage in (*STAGES, chance.choice(STAGES)):
            if sum(done.values()) == wanted:
                break
            # Of a stage that comes again and again, one of the first half: later ones may have been reached before.
            entry = chance.randint(1, max(1, len(usual[stage]) // 2))
            if cut_short(place, stage, entry, chance.random() * max(usual[stage])):
                done[stage] += 1
        whole(place)
        found = fingerprint(place)
        differing += sum(found.get(name) != expected.get(name) for name in {*found, *expected})
        left += sum(1 for path in place.store.rglob("*") if path.is_file() and path.parent.name.startswith("."))
        left += len(list((place.store / "checkpoints").glob("*")))
        left += len(list(place.archives.glob(".*")))
        rounds += 1
        print(f"  {sum(done.values())} kills, {rounds} studies, {differing} files that differ", flush=True)
        shutil.rmtree(place.root)
    listed = ", ".join(f"{done[stage]} {stage}" for stage in STAGES)
    print(f"kills: {wanted} ({listed}) over {rounds} studies of {len(expected)} files: {differing} files differ")
    print(f"       {left} unfinished files of killed processes were left in the stores")
    return differing == 0


# -- flipped bytes ---------------------------------------------------------------------------------------------------

Reader = Callable[[Path], str]
"""(the folder that a flipped file lies in) → a digest of all that reading gives; raises KdnbError or warns if it finds it"""


def read_run(folder: Path) -> str:
    """Of a store with one run."""
    (run,) = (path.name for path in (folder / "runs").glob("[!.]*"))
    opened = store.Store(folder)
    if not opened.holds(run):
        raise KdnbError("set aside")
    entry = opened.entry(run)
    tensors = [digest(each) for each in (entry.weights, entry.predictions, entry.attention)]
    return repr((entry.spec, tensors, entry.log, entry.environment))


def read_checkpoint(folder: Path) -> str:
    """Of a folder with one checkpoint."""
    (path,) = folder.glob("*.safetensors")
    saved = Checkpoints(folder).load(path.stem)
    if saved is None:
        raise KdnbError("set aside")
    return repr((digest(saved[0]), saved[1]))


def read_results(folder: Path) -> str:
    """Of the published results."""
    there = results.read(folder)
    explorer = there.explorer
    tables = (there.table, there.curves, there.reliability, there.dial, there.specifications)
    parts: list[Any] = [there.about, there.profile, there.seeds, *(each.to_csv() for each in tables)]
    parts += [digest({"index": explorer.index, "images": explorer.images, "labels": explorer.labels})]
    parts += [digest(explorer.logits), *(digest(maps) for maps in explorer.maps.values())]
    for seed in there.seeds:
        said = there.predictions(seed)
        parts += [said.runs, said.views, said.ensembles]
        parts += [digest({name: each for name, each in vars(said).items() if isinstance(each, torch.Tensor)})]
    for run in explorer.logits:
        parts += [digest(there.network(run).state_dict())]
    return repr(parts)


def read_archive(folder: Path) -> str:
    """Of the archive of a seed."""
    (path,) = folder.glob("*.zip")
    with tempfile.TemporaryDirectory() as scratch:
        restored = archive.restore(path, store.Store(scratch))
        entries = [store.Store(scratch).entry(run) for run in restored.added]
        tensors = [digest(each) for entry in entries for each in (entry.weights, entry.predictions, entry.attention)]
        return repr((restored, tensors, [(entry.spec, entry.log, entry.environment) for entry in entries]))


def read_cache(images: str) -> Reader:
    """Of the decoded images of a folder."""

    def read(folder: Path) -> str:
        os.environ["KDNB_CACHE"] = str(folder)
        loaded = datasets.load(f"imagefolder:{images}", size=32)
        splits = [digest({"images": s.pixels(), "labels": s.labels}) for s in (loaded.train, loaded.validation)]
        return repr((loaded.hash, loaded.classes, loaded.mean, loaded.std, splits, loaded.train.names))

    return read


def unfinished(root: Path, original: Life) -> Path:
    """A folder with the checkpoint of a training that was killed."""
    while True:
        place = Place(root / "unfinished", original.place.profile)
        cut_short(place, "training", 1, max(original.seconds["training"]) * 0.7)
        found = list((place.store / "checkpoints").glob("*.safetensors"))
        if found:
            return found[0].parent
        shutil.rmtree(place.root, ignore_errors=True)


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said: list[str] = []
        yield said
        said += [str(each.message) for each in caught]


def flip(folder: Path, file: str, read: Reader, expected: str, chance: random.Random) -> str:
    """Changes a byte of a copy; what became of it: found, harmless, silent or crash."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(folder, copy, copy_function=shutil.copy2)
        path = copy / file
        content = bytearray(path.read_bytes())
        place = chance.randrange(len(content))
        content[place] ^= chance.randrange(1, 256)
        path.write_bytes(content)
        with heard() as said:
            try:
                same = read(copy) == expected
                answer = ""
            except KdnbError as error:
                answer, same = str(error), False
            except Exception:
                print(f"  crash: {file}, byte {place} of {len(content)}")
                traceback.print_exc(limit=-2)
                return "crash"
        if answer or (said and same):
            return "found"
        if not same:
            print(f"  silent: {file}, byte {place} of {len(content)}")
        return "harmless" if same else "silent"


def flips(root: Path, original: Life, images: str, wanted: int, chance: random.Random) -> bool:
    """Flips bytes in files of every kind in turn; whether each was found or harmless."""
    runs = sorted((original.place.store / "runs").glob("[!.]*"))
    single = root / "single"
    for run in runs:
        shutil.copytree(run, single / run.name / "runs" / run.name)
    subjects: list[tuple[str, Path, Reader]] = [("run", single / run.name, read_run) for run in runs]
    subjects.append(("checkpoint", unfinished(root, original), read_checkpoint))
    subjects.append(("results", original.place.results, read_results))
    subjects.append(("archive", original.place.archives, read_archive))
    subjects.append(("cache", Path(os.environ["KDNB_CACHE"]), read_cache(images)))
    kinds = list(dict.fromkeys(kind for kind, *_ in subjects))
    files: dict[str, list[tuple[Path, Reader, str, str]]] = {kind: [] for kind in kinds}
    for kind, folder, read in subjects:
        expected = read(folder)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size and not path.name.endswith(".lock"):
                files[kind].append((folder, read, expected, path.relative_to(folder).as_posix()))
    order: dict[str, list[int]] = {kind: [] for kind in kinds}
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(wanted):
        kind = kinds[number % len(kinds)]
        if not order[kind]:  # every file once, then all again
            order[kind] = chance.sample(range(len(files[kind])), len(files[kind]))
        folder, read, expected, file = files[kind][order[kind].pop()]
        counts[kind, flip(folder, file, read, expected, chance)] += 1
    print(f"flips: {wanted} bytes")
    for kind in kinds:
        listed = ", ".join(f"{counts[kind, what]} {what}" for what in ("found", "harmless", "silent", "crash"))
        print(f"       {kind} ({len(files[kind])} files): {listed}")
    return not any(counts[kind, what] for kind in kinds for what in ("silent", "crash"))


def main() -> None:
    """Both campaigns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not hasattr(os, "fork"):
        raise SystemExit("this system has no fork; run the campaign on Linux or macOS")
    torch.set_num_threads(1)  # a process that has started threads cannot be forked
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root, chance = Path(folder), random.Random(asked.seed)
        os.environ |= {"KDNB_CACHE": str(root / "cache"), "KDNB_STORE": str(root / "store")}
        profile = lay_out(root)
        original = whole(Place(root / "undisturbed", profile))
        same = kills(root, original, asked.kills, chance)
        safe = flips(root, original, str(root / "images"), asked.flips, chance)
    print(f"{time.perf_counter() - began:.0f} s")
    sys.exit(0 if same and safe else 1)


if __name__ == "__main__":
    main()
