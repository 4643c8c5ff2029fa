"""The lock of a machine without a GPU: the whole lock without the libraries that only torch's GPU build asks for.

python .ci/cpu.py requirements.txt requirements-cpu.txt
"""

import re
import sys
from pathlib import Path

GPU = re.compile(r"(cuda|nvidia)-|triton\b")
"""how the names of packages begin that torch's CPU build does without"""

HEADER = """\
# This file was made from requirements.txt by
#    make lock
# It is that lock without what only torch's GPU build needs. `make CPU=1` installs it, with torch's build for processors:
#    uv pip install --torch-backend cpu -r requirements-cpu.txt
"""


def without_gpu(lock: str) -> str:
    """The lines of a lock, annotations left out, of the packages that a machine without a GPU needs."""
    pins = [line for line in lock.splitlines() if line and line[0].isalnum()]
    return HEADER + "".join(f"{pin}\n" for pin in pins if not GPU.match(pin))


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(without_gpu(source.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
