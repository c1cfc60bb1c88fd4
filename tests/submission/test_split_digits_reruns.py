"""Long proofs on the default benchmark: another platform, fresh seeds, secret data, and honest strategies."""

import os
import subprocess
import sys

import pytest
from small_submission import DIGEST

from clbench import api
from clbench.core import store
from clbench.submission.fresh_seeds import try_fresh
from clbench.submission.rerun_results import failures
from clbench.submission.reruns import reproduce
from clbench.submission.secret_runs import try_secret_data

pytestmark = pytest.mark.slow
PARTING = "pcr(views=1), hpcr(views=1), er, icarl, der(alpha=0.5)"
RUN = "import sys; from clbench import api; api.run('split-digits', strategies=sys.argv[2], seeds=3, out=sys.argv[1])"


def test_cells_of_a_processor_without_vector_instructions_lie_in_the_bands_where_they_part(tmp_path):
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    subprocess.run([sys.executable, "-c", RUN, str(tmp_path), PARTING], check=True, env=environment)
    results = reproduce(list(store.load_all(tmp_path)), DIGEST, 15)
    assert [each.sentence for each in results if not each.holds] == []


def test_every_strategy_of_the_default_benchmark_is_honest_by_fresh_seeds_and_on_secret_data():
    made = api.run("split-digits", seeds=5)
    assert not failures(reproduce(made, DIGEST, 3))
    assert not failures(try_fresh(made, DIGEST, 3))
    for key in (0, 2, 10):  # with key 2 naive is below its band, and not with the next one
        results = try_secret_data(made, key=key)
        assert len(results) == 10
        assert not failures(results)
