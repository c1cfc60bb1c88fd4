"""A data set small enough to work out by hand."""

import numpy as np

from clbench.core.types import Dataset, Rows


def tiny(n_classes: int = 6, *, per_class: int = 5, shape: tuple[int, ...] = (1, 4, 4), seed: int = 0) -> Dataset:
    """Class c has per_class + c training rows and 2 test rows, mixed up."""
    rng = np.random.Generator(np.random.PCG64(seed))
    y = rng.permutation(np.repeat(np.arange(n_classes), per_class + np.arange(n_classes)))
    test_y = rng.permutation(np.repeat(np.arange(n_classes), 2))
    x = rng.integers(0, 256, (len(y), *shape), dtype=np.uint8)
    test_x = rng.integers(0, 256, (len(test_y), *shape), dtype=np.uint8)
    names = tuple(f"c{i}" for i in range(n_classes))
    return Dataset("tiny", Rows(x, y), Rows(test_x, test_y), names, 1 / 255, f"tiny-{n_classes}-{per_class}-{seed}")
