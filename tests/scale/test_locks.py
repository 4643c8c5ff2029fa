"""Locks of the store: what a file system must give, and how one that does not is told."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from kdnb.errors import StoreError
from kdnb.paths import CHECKOUT as ROOT
from kdnb.scale import locks
from kdnb.study.store import Store
from tests.conftest import HANGS


def in_another_process(code, *arguments):
    """What a process of its own says of an error; empty without one."""
    code = f"import sys, pathlib\nfrom kdnb.scale import locks\nfrom kdnb.errors import StoreError\ntry:\n    {code}\n" \
           "except StoreError as error:\n    print(error)"  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=HANGS).stdout.strip()


def test_a_disk_has_locks_and_the_probe_leaves_nothing(tmp_path):
    locks.require(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no flock")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_clear_error(number, tmp_path, monkeypatch):
    """NFS without its lock manager, Lustre without flock, and what knows no locks answer with these."""
    import fcntl

    def refuse(*_):
        raise OSError(number, "refused by the file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    mend = r"has no locks .*needs locks that a killed process loses; lay it on another"
    with pytest.raises(StoreError, match=mend) as told, Store(tmp_path).claim(["a"]):
        pass
    assert "\n" not in str(told.value)


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no flock")
def test_locks_that_exclude_nobody_are_found(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(StoreError, match="exclude nobody"):
        locks.require(tmp_path)


def test_a_held_lock_is_found_held_by_another_process(tmp_path):
    check = "locks.require_held(pathlib.Path(sys.argv[1]), 'node7')"
    with locks.held_lock(tmp_path / "locks") as path:
        assert in_another_process(check, path) == ""
    assert not path.exists()


def test_a_held_lock_that_nobody_holds_says_that_locks_do_not_reach(tmp_path):
    path = tmp_path / "locks" / "held-1.lock"
    path.parent.mkdir()
    path.touch()
    said = in_another_process("locks.require_held(pathlib.Path(sys.argv[1]), 'node7')", path)
    assert said.startswith(f"locks in {path.parent} do not keep out node7; ")


def test_a_store_that_another_machine_does_not_see_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"node7 does not see the store .*under the same path"):
        locks.require_held(tmp_path / "store" / "locks" / "held-1.lock", "node7")


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2,local_lock=none 0 0
server:/old /old nfs rw,vers=3,nolock,local_lock=all 0 0
mgs@tcp:/fs /scratch lustre rw,flock,lazystatfs 0 0
mgs@tcp:/fs /scratch/local lustre rw,localflock 0 0
//server/share /my\\040share cifs rw,nobrl 0 0
me@host: /far fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/data/store", ""),
        ("/home/me/store", ""),
        ("/scratch/store", ""),
        ("/scratch/locality/store", ""),
        ("/old/store", "/old is NFS mounted with locks of this machine only"),
        ("/scratch/local/store", "/scratch/local is Lustre mounted with localflock"),
        ("/my share/store", "/my share is SMB mounted with nobrl"),
        ("/far/store", "/far is fuse.sshfs, whose locks stay on this machine"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no flock")
def test_how_a_folder_is_mounted_tells_whether_its_locks_reach_other_machines(folder, said):
    found = locks.mount_warning(Path(folder), MOUNTS)
    assert found.startswith(said) if said else found == ""


def test_here_nothing_is_doubted(tmp_path):
    assert locks.mount_warning(tmp_path) == ""
