"""Random numbers as a function of where they are used: a counter-based stream.

A draw is keyed by (seed, member, purpose, epoch, index) and by nothing else. What an image receives therefore does not
depend on batch size, order, neighbours, threads, or what else was drawn before; and nothing has to be saved to resume.

The generator is Philox4x32 with 10 rounds: Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3*.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Purpose(IntEnum):
    """What a draw is for. Different purposes never share a draw."""

    ORDER = 0
    """the order of the images in an epoch"""
    AUGMENT = 1
    """the augmented view of a training image"""
    VIEW = 2
    """the augmented view of an image that a finished network is measured on"""
    SAMPLE = 3
    """which images a fixed sample holds"""
    COIN = 4
    """which half of a training image's view the first teacher sees"""


@dataclass(frozen=True)
class Stream:
    """A stream of draws: the study's seed, and whose stream it is (0 the students', 1 to 3 a teacher's)."""

    seed: int
    member: int = 0

    def uniforms(self, purpose: Purpose, epoch: int, index: NDArray[np.integer], count: int) -> NDArray[np.float64]:
        """Uniform draws in [0, 1), shape ``(len(index), count)``, multiples of 2**-32.

        Row i depends on ``index[i]`` alone; asking for more columns leaves the first ones as they were.
        """
        blocks = -(-count // 4)
        counter = np.empty((len(index), blocks, 4), dtype=np.uint32)
        counter[..., 0] = np.arange(blocks)
        counter[..., 1] = np.asarray(index)[:, None]
        counter[..., 2] = epoch
        counter[..., 3] = int(purpose)
        words = philox4x32(counter, (self.seed & 0xFFFFFFFF, self.member & 0xFFFFFFFF))
        return words.reshape(len(index), 4 * blocks)[:, :count].astype(np.float64) * 2.0**-32

    def permutation(self, size: int, epoch: int) -> NDArray[np.int64]:
        """The order of ``size`` images in an epoch."""
        return np.argsort(
            self.uniforms(Purpose.ORDER, epoch, np.arange(size), 2) @ np.array([1.0, 2.0**-32]), kind="stable"
        )


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 of counters of shape ``(..., 4)`` under one key of two 32-bit words; same shape."""
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    for round_ in range(_ROUNDS):
        k0 = np.uint64((key[0] + round_ * _WEYL[0]) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + round_ * _WEYL[1]) & 0xFFFFFFFF)
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c3 ^ k1,
            product0 & _LOW,
        )
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)
