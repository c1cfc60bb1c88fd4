"""CODA-Prompt: prefixes and the penalty in plain loops, orthonormal components, and what keeps its bits."""

import math

import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.strategies.coda_prompt import NAME, NAMES, orthonormal, summed

SMALL = "coda_prompt(pool=15, length=4, blocks=2)"
ADAM = ("training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.1", "evaluation.every=0")
WIDE = "model={name: vit, width: 32, depth: 2, attention_heads: 2}"


def prefixes_of(query, parts, block, last):
    """The prefix of one sample in a block, component by component."""
    total = 0
    for k in range(last):
        weighted = query * parts["attention"][k, block]
        alpha = F.cosine_similarity(weighted, parts["key"][k, block], dim=0)
        total = total + alpha * parts["prompt"][k, block]
    return total  # (length, D)


def logits_of(model, parts, x, last):
    """Logits of samples one by one."""
    logits = []
    for row in range(len(x)):
        tokens = model.tokens(x[row : row + 1])
        query = model.encode(tokens)[0].mean(0).detach()
        found = [prefixes_of(query, parts, block, last) for block in range(2)]
        prefixes = {block: (p[None, : len(p) // 2], p[None, len(p) // 2 :]) for block, p in enumerate(found)}
        logits.append(model.head(model.encode(tokens, prefixes)[0].mean(0)))
    return torch.stack(logits)


def penalty_of(parts, last, form):
    """The penalty, pair by pair of components."""
    total = 0.0
    for name in NAMES:
        for block in range(2):
            rows = parts[name][:last, block].flatten(1)
            pairs = [(rows[a] @ rows[b] - float(a == b)) ** 2 for a in range(last) for b in range(last)]
            total = total + (sum(pairs) if form == "paper" else 1e-6 * sum(pairs) / last**2)
    return total


@pytest.mark.parametrize(("form", "penalty"), [("paper", 0.1), ("code", 1e4)])
def test_the_first_two_experiences_are_those_of_a_plain_loop(form, penalty):
    written = f"coda_prompt(pool=15, length=4, blocks=2, form={form}, penalty={penalty})"
    run = ready(written, "stream.order=fixed", "evaluation.every=0", "training.lr=0.05", "training.batch_size=20")
    model, learner = run.learner.model, run.learner
    begun, ended, seen = [], [], []

    def state():
        return {name: value.detach().clone() for name, value in model.state_dict().items()}

    run.chain.begin_experience += (lambda *_: begun.append(state()),)
    run.chain.after_step += (lambda _, batch: seen.append((learner.experience, batch.x.clone(), batch.y.clone())),)
    run.chain.end_experience += (lambda *_: ended.append(state()),)
    run.train()
    parts = getattr(model, NAME)
    trained_ones = {name: p for name, p in model.named_parameters() if name in learner.slices}
    for e in (0, 1):
        for name, parameter in trained_ones.items():
            parameter.data = begun[e][name].clone()
        for x, y in ((x, y) for number, x, y in seen if number == e):
            logits = logits_of(model, parts, x, 3 * (e + 1))
            compete = torch.full((10,), -math.inf)
            compete[2 * e : 2 * e + 2] = 0
            loss = F.cross_entropy(logits + compete, y) + penalty * penalty_of(parts, 3 * (e + 1), form)
            grads = torch.autograd.grad(loss, list(trained_ones.values()))
            for (name, parameter), grad in zip(trained_ones.items(), grads, strict=True):
                own = torch.zeros_like(grad)
                own[slice(None) if name.startswith("head") else slice(3 * e, 3 * e + 3)] = 1
                parameter.data = parameter.data - 0.05 * own * grad
        for name, parameter in trained_ones.items():
            torch.testing.assert_close(parameter.data, ended[e][name], atol=2e-5, rtol=1e-4)
        assert not torch.equal(begun[e][f"{NAME}.key"], ended[e][f"{NAME}.key"])


def test_earlier_components_get_gradients_of_exactly_0_and_keep_their_bits_under_adam_with_decay():
    run = ready(SMALL, *ADAM)
    learner, model = run.learner, run.learner.model
    body = {name: p.detach().clone() for name, p in model.named_parameters() if name not in learner.slices}
    steps, kept = [], []

    def check(*_):
        e = learner.experience
        for name in NAMES:
            gradient = learner.g[learner.slices[f"{NAME}.{name}"]].view(15, -1)
            steps.append(not gradient[: 3 * e].any() and not gradient[3 * e + 3 :].any())
            assert gradient[3 * e : 3 * e + 3].any()

    run.chain.gradient += (check,)
    run.chain.begin_experience += (
        lambda *_: kept.append({n: getattr(model, NAME)[n].detach().clone() for n in NAMES}),
    )
    run.chain.end_experience += (lambda *_: kept.append({n: getattr(model, NAME)[n].detach().clone() for n in NAMES}),)
    run.train()
    assert len(steps) > 40
    assert all(steps)
    assert all(torch.equal(p, body[name]) for name, p in model.named_parameters() if name in body)
    for e in range(5):
        before, after = kept[2 * e], kept[2 * e + 1]
        for name in NAMES:
            same = [torch.equal(before[name][k], after[name][k]) for k in range(15)]
            assert same == [k // 3 != e for k in range(15)], (name, e)


def test_new_components_are_orthonormal_and_orthogonal_to_all_earlier_ones():
    run = ready(SMALL, *ADAM, WIDE)
    model, found = run.learner.model, []

    def begins(learner, _):
        first, last = 3 * learner.experience, 3 * learner.experience + 3
        for name in NAMES:
            rows = getattr(model, NAME)[name].detach().flatten(2).transpose(0, 1).double()  # (blocks, M, n)
            new, earlier = rows[:, first:last], F.normalize(rows[:, :first], dim=2)
            found.append((new @ new.mT - torch.eye(3)).abs().max().item())
            found.append((new @ earlier.mT).abs().max().item() if first else 0.0)

    run.chain.begin_experience += (begins,)
    run.train()
    assert len(found) == 30
    assert max(found) < 1e-5


def test_where_components_outnumber_dimensions_the_first_are_orthonormal_and_the_others_have_unit_length():
    torch.manual_seed(0)
    earlier, drawn = 3 * torch.randn(2, 3, 5), torch.randn(2, 4, 5)
    rows = orthonormal(drawn, earlier)
    assert (rows[:, :2] @ rows[:, :2].mT - torch.eye(2)).abs().max() < 1e-5
    assert (rows[:, :2] @ earlier.mT).abs().max() < 1e-5
    torch.testing.assert_close(rows[:, 2:], F.normalize(drawn[:, 2:], dim=2))
    torch.testing.assert_close(orthonormal(drawn, torch.randn(2, 7, 5)), F.normalize(drawn, dim=2))


def test_a_query_of_zeros_gives_no_prefix_and_finite_gradients():
    parts = [torch.randn(3, 2, *size, requires_grad=True) for size in ((4, 5), (5,), (5,))]
    total = summed(torch.zeros(2, 5), *parts)
    assert not total.any()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(total.sum(), parts))


def test_a_samples_answer_is_the_same_alone_and_among_63_others():
    run = trained(SMALL, "evaluation.every=0")
    part, learner = run.chain.parts[0], run.learner
    learner.model.eval()
    x = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        together = part.answer(learner, x, None).logits
        alone = torch.cat([part.answer(learner, x[i : i + 1], None).logits for i in range(64)])
        one_by_one = logits_of(learner.model, getattr(learner.model, NAME), x, 15)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_is_refused_or_skipped():
    from clbench.adapters.run_setup import Skip

    run = ready("coda_prompt(pool=4)")
    with pytest.raises(
        Refused, match=r"pool = 4 components of coda_prompt.* over 5 experiences; write coda_prompt\(pool=5\)"
    ):
        run.train()
    with pytest.raises(
        Refused, match="length = 5 tokens cannot be halved into keys and values; give an even number such as 6"
    ):
        ready("coda_prompt(length=5)")
    with pytest.raises(Skip, match="length of the stream, which is not revealed"):
        ready("coda_prompt", "reveal=[]")
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("coda_prompt", "model={name: mlp}")


def test_the_pass_of_the_query_is_counted_in_training():
    run = trained(SMALL, "training.epochs=1", "evaluation.every=1")
    assert run.learner.cost.extra_forward_rows == run.learner.cost.stream_rows
