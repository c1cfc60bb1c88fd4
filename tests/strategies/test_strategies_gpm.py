"""Gradient projection memory: bases of inputs by hand and by numpy, and weights that keep what old inputs map to."""

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, train_until, trained

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.models import make
from clbench.strategies import input_bases
from clbench.strategies.gpm import GPM
from clbench.testing.contract import examine
from clbench.training.layer_inputs import joined, recorded


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DOMAIN = ("stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3", "model.bias=false")
GPM_95 = "gpm(threshold=0.95, growth=0, rows=60)"


# ------------------------------------------------------------------------------------------------------ the bases


def test_basis_in_three_dimensions_is_that_worked_out_by_hand():
    """R has σ² = 9·2, 4 and 1 along the axes: 18 of 23 are .78 of the energy, 22 of 23 are .96."""
    inputs = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, 0, 1]], dtype=torch.float64)
    directions, energies = input_bases.directions(inputs)
    torch.testing.assert_close(energies, torch.tensor([18.0, 4, 1], dtype=torch.float64))
    torch.testing.assert_close(directions.abs(), torch.eye(3, dtype=torch.float64))
    sizes = {share: input_bases.extended(inputs, None, share).shape[1] for share in (0.01, 0.78, 0.79, 0.95, 0.96, 1.0)}
    assert sizes == {0.01: 1, 0.78: 1, 0.79: 2, 0.95: 2, 0.96: 3, 1.0: 3}
    assert input_bases.extended(inputs, None, 0.0) is None


def test_the_form_of_the_code_stops_below_the_threshold():
    inputs = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, 0, 1]], dtype=torch.float64)
    assert input_bases.extended(inputs, None, 0.5, below=True) is None
    assert input_bases.extended(inputs, None, 0.95, below=True).shape == (3, 1)


def test_new_directions_are_those_of_the_residual_and_old_ones_count_as_covered():
    """With M = e1, rows (3, 4, 0) and (0, 0, 1) have 9 of 26 covered; e2 adds 16, e3 adds 1."""
    inputs = torch.tensor([[3.0, 4, 0], [0, 0, 1]], dtype=torch.float64)
    old = torch.eye(3, dtype=torch.float64)[:, :1]
    assert input_bases.extended(inputs, old, 9 / 26 - 1e-9) is old
    one = input_bases.extended(inputs, old, 25 / 26 - 1e-9)
    torch.testing.assert_close(one.abs(), torch.eye(3, dtype=torch.float64)[:, :2])
    assert torch.equal(one[:, :1], old)
    assert input_bases.extended(inputs, old, 25 / 26 + 1e-9).shape == (3, 3)


def numpys_projector(inputs, threshold, earlier=None):
    """M Mᵀ of the paper's equations 5 to 9, from R (n, I) as columns, written with numpy's SVD."""
    columns = inputs.T
    basis = np.zeros((len(columns), 0)) if earlier is None else earlier
    total = (columns**2).sum()
    rest = columns - basis @ (basis.T @ columns)
    left, values, _ = np.linalg.svd(rest, full_matrices=False)
    covered, count = total - (rest**2).sum(), 0
    while covered < threshold * total:
        covered += values[count] ** 2
        count += 1
    basis = np.hstack([basis, left[:, :count]])
    return basis, basis @ basis.T


def decaying(n, wide, seed):
    """Rows whose energy falls from direction to direction, as that of activations does."""
    return rows(n, wide, seed=seed) * torch.logspace(0, -2, wide, dtype=torch.float64)


@pytest.mark.parametrize(("n", "wide"), [(200, 50), (30, 50)])
def test_projector_equals_that_of_numpys_singular_vectors_for_two_tasks(n, wide):
    first, second = decaying(n, wide, 1), decaying(n, wide, 2).flip(1)
    basis, wanted = numpys_projector(first.numpy(), 0.97)
    ours = input_bases.extended(input_bases.condensed(first), None, 0.97)
    assert ours.shape == basis.shape
    assert np.abs((ours @ ours.T).numpy() - wanted).max() < 1e-6
    basis, wanted = numpys_projector(second.numpy(), 0.97, basis)
    ours = input_bases.extended(input_bases.condensed(second), ours, 0.97)
    assert ours.shape == basis.shape
    assert np.abs((ours @ ours.T).numpy() - wanted).max() < 1e-6
    assert np.abs((ours.T @ ours).numpy() - np.eye(ours.shape[1])).max() < 1e-12


def test_projector_of_an_unfolded_convolution_equals_that_of_numpy():
    torch.manual_seed(0)
    model = make({"name": "cnn", "width": 4, "hidden": 8, "norm": "none", "bias": False}, (3, 8, 8), 5).double()
    x = rows(25, 3, 8, 8)
    with recorded(model) as seen, torch.no_grad():
        model(x)
    unfolded = torch.nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)  # (1600, 27)
    _, wanted = numpys_projector(unfolded.numpy(), 0.9)
    ours = input_bases.extended(input_bases.condensed(joined(seen)["convolutions.0"]), None, 0.9)
    assert np.abs((ours @ ours.T).numpy() - wanted).max() < 1e-6


def test_condensed_rows_keep_all_inner_products_however_they_come():
    inputs = rows(200, 50)
    few = None
    for part in inputs.split(33):
        few = input_bases.condensed(part, few)
    assert few.shape == (50, 50)
    torch.testing.assert_close(few.T @ few, inputs.T @ inputs)


def test_a_projected_gradient_is_orthogonal_to_the_basis_from_either_side():
    basis = torch.linalg.qr(rows(12, 8)).Q
    gradient = rows(5, 12, seed=1)
    narrow, wide = gradient.clone(), gradient.clone()
    input_bases.project_out(narrow, basis)
    input_bases.project_out(wide, basis, input_bases.complement(basis))
    torch.testing.assert_close(narrow, gradient - gradient @ basis @ basis.T)
    torch.testing.assert_close(wide, narrow)
    assert float((narrow @ basis).abs().max()) < 1e-12


# -------------------------------------------------------------------------------------------------------- the run


def products(part, learner):
    w = learner.w.detach()
    return {m.name: m.of(w) @ part.state["bases"][m.name] for m in part._matrices}


@pytest.mark.parametrize(
    "model",
    ["model={name: mlp, hidden: [40, 30], bias: false}", "model={name: cnn, width: 4, hidden: 30, bias: false}"],
)
def test_products_of_weights_and_old_inputs_do_not_change_in_the_next_experience(model):
    first = trained(GPM_95, *DOMAIN[:2], "stream.experiences=1", model)
    (part,) = first.chain.parts
    run = trained(GPM_95, *DOMAIN[:2], "stream.experiences=2", model)
    old, learner = part.state["bases"], run.learner
    before = products(part, first.learner)
    for matrix in part._matrices:
        now = matrix.of(learner.w.detach())
        assert float((now - matrix.of(first.learner.w.detach())).abs().max()) > 1e-3  # it has learned
        assert float((now @ old[matrix.name] - before[matrix.name]).abs().max()) < 1e-5


def test_bases_only_grow_and_keep_their_first_directions():
    one = trained(GPM_95, *DOMAIN, "stream.experiences=1").chain.parts[0].state["bases"]
    three = trained(GPM_95, *DOMAIN).chain.parts[0].state["bases"]
    for name, basis in three.items():
        assert torch.equal(basis[:, : one[name].shape[1]], one[name])
        assert basis.shape[1] > one[name].shape[1]
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), rtol=0, atol=1e-5)


def test_threshold_grows_with_every_experience_up_to_one():
    part = GPM(threshold=[0.5, 0.997], growth=0.002)
    shares = []
    for finished in range(3):
        part.state["finished"] = finished
        shares.append([part._threshold(0), part._threshold(1)])
    assert shares == [[0.5, 0.997], [pytest.approx(0.502), pytest.approx(0.999)], [pytest.approx(0.504), 1.0]]


def test_a_list_of_thresholds_goes_to_the_layers_in_order():
    run = trained("gpm(threshold=[0.3, 0.999], growth=0, rows=60)", *DOMAIN, "stream.experiences=1")
    single = {
        share: trained(f"gpm(threshold={share}, growth=0, rows=60)", *DOMAIN, "stream.experiences=1")
        for share in (0.3, 0.999)
    }
    bases = run.chain.parts[0].state["bases"]
    for name, share in (("layers.0", 0.3), ("head", 0.999)):
        assert torch.equal(bases[name], single[share].chain.parts[0].state["bases"][name])


def test_a_list_of_another_length_is_refused_with_the_layers():
    with pytest.raises(Refused, match=r"3 numbers, but 2 layers are projected \(layers.0, head\)"):
        trained("gpm(threshold=[0.9, 0.9, 0.9])", *DOMAIN)


def test_threshold_zero_is_plain_training_bit_for_bit():
    assert_same(
        {"w": trained("gpm(threshold=0, growth=0)", *DOMAIN).learner.w.detach()},
        {"w": trained("naive", *DOMAIN).learner.w.detach()},
    )


@pytest.mark.parametrize("setting", ["task", "class"])
def test_the_head_is_projected_unless_each_task_has_units_of_its_own(setting):
    part = trained(GPM_95, f"stream.setting={setting}").chain.parts[0]
    assert set(part.state["bases"]) == ({"layers.0"} if setting == "task" else {"layers.0", "head"})


def test_permuted_domains_with_task_labels_project_the_head():
    run = trained(GPM_95, *DOMAIN, "stream.task_labels=true")
    assert set(run.chain.parts[0].state["bases"]) == {"layers.0", "head"}


def test_gpm_forgets_less_than_plain_training_on_permuted_digits():
    changes = (*DOMAIN, "training.epochs=8", "evaluation.every=0", "model.hidden=[60]")

    def forgotten(strategy):
        trace = trained(strategy, *changes, "evaluation.rows_per_task=all").evaluator.trace()
        ends = trace.score[trace.kind == Kind.END]
        return float(np.diag(ends[-3:]).mean() - ends[-1].mean())

    assert forgotten(GPM_95) < forgotten("naive") - 0.03


@pytest.mark.parametrize("step", [4, 25, 37])
def test_a_resumed_run_continues_bit_for_bit(step):
    changes = (*DOMAIN, "evaluation.every=0")
    whole = trained(GPM_95, *changes)
    resumed = ready(GPM_95, *changes)
    resumed.restore(train_until(ready(GPM_95, *changes), step).snapshot())
    resumed.train()
    assert_same(everything(resumed), everything(whole))
    ours, theirs = (run.chain.parts[0].state for run in (resumed, whole))
    for kind in ("bases", "free", "held"):
        assert_same(ours[kind], theirs[kind])


def test_the_contract_is_kept_with_a_remark_on_a_state_that_grows():
    verdicts = {verdict.property: verdict for verdict in examine("gpm")}
    assert {name for name, verdict in verdicts.items() if verdict.status != "kept"} == {"rows_to_come"}
    assert verdicts["rows_to_come"].status == "skipped"
    assert verdicts["state"].text.startswith("it grows with experiences by design: it keeps directions of the inputs")


# ------------------------------------------------------------------------------------------------- what is noticed


def complaints(*changes):
    run = trained(GPM_95, *DOMAIN, *changes)
    return run.chain.parts[0].self_checks(run.learner)


def test_plain_steps_raise_no_alarm():
    assert complaints() == []


@pytest.mark.parametrize("change", ["training.momentum=0.9", "training.weight_decay=0.01", "training.optimizer=adam"])
def test_steps_that_leave_the_projected_space_are_reported(change):
    (text,) = complaints(change, *(("training.lr=0.01",) if "adam" in change else ()))
    assert "did not keep what layers compute from old inputs: it changed by" in text


class Unread(torch.nn.Module):
    """It uses the weights of a layer without calling it."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.first, self.head = torch.nn.Linear(64, 20), torch.nn.Linear(20, n_outputs)

    def forward(self, x):
        hidden = torch.nn.functional.linear(x.flatten(1), self.first.weight, self.first.bias)
        return self.head(hidden.relu())


def test_layers_whose_inputs_cannot_be_read_are_reported():
    run = trained(GPM_95, *DOMAIN[:3], model=Unread)
    (text,) = run.chain.parts[0].self_checks(run.learner)
    assert text.startswith("could not read the inputs of module.first, whose gradients were not projected")
