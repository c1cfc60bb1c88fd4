"""Random patterns: vectors of independent values +1 and -1, labelled by a perceptron with weights of ±1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset
from clbench.data.arrays import assemble

INPUTS = 1001
"""N if none is given. It is odd, so that no sum of N values ±1 is 0 and every label is defined."""
TRAIN, TEST = 10, 4
"""Training and test patterns, as multiples of N."""
CLASSES = ("-1", "+1")


def patterns(_data_dir: Path, *, size: int | None = None) -> Dataset:
    """Make 10 N training and 4 N test patterns of N independent values ±1, with a fixed draw.

    The label is the sign of Σ w x, where w is a fixed vector of N values ±1. The scenario ``teacher`` draws such a
    vector for each task, and labels the patterns by it.

    Args:
        _data_dir: Not used: nothing is read.
        size: N, at least 2; by default 1001.

    Raises:
        Refused: N is below 2.

    Source: Gardner and Derrida 1989, Journal of Physics A 22, 1983.
    """
    inputs = INPUTS if size is None else size
    if inputs < 2:
        raise Refused(f"dataset: size = {inputs} is no number of inputs for patterns; give 2 or more", "size")
    w = signs(Generator(0, "data/patterns/teacher"), inputs)
    split = []
    for name, factor in (("train", TRAIN), ("test", TEST)):
        x = signs(Generator(0, f"data/patterns/{name}"), factor * inputs * inputs).reshape(-1, inputs)
        split.append((x, labels(x, w)))
    return assemble("patterns", *split, where="data set 'patterns'", class_names=CLASSES)


def signs(generator: Generator, n: int) -> NDArray[np.float32]:
    """Draw ``n`` values +1 and -1 with equal probability, (n,)."""
    words = generator.words(-(-n // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8), count=n)
    return bits.astype(np.float32) * 2 - 1


def labels(x: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return 1 where Σ w x is at least 0, else 0, (n,), for values of ±1.

    The sums are whole numbers below 2^24, which float32 represents exactly, in any order of summation.

    Args:
        x: (n, N) patterns.
        w: (N,) weights.
    """
    found: NDArray[np.int64] = (x @ w >= 0).astype(np.int64)
    return found
