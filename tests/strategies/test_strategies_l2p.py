"""L2P: prompts chosen by hand, what is trained, and that a sample's answer does not depend on the samples beside it."""

import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.core.cost import Cost
from clbench.core.errors import Refused
from clbench.models.vit import ViT
from clbench.strategies.l2p import L2P, NAME


def prompted(**settings):
    """A small transformer with a pool of prompts, and the part that answers with it."""
    torch.manual_seed(0)
    part = L2P(**settings)
    model = part.build(ViT((1, 8, 8), 3, patch=4, width=6, depth=2, heads=2, mlp_ratio=2.0), (1, 8, 8), 3)
    return model, part


class Given:
    def __init__(self, model):
        self.model, self.cost = model, Cost(weights=0)


def test_the_prompts_of_the_two_nearest_of_three_keys_come_before_the_tokens_the_nearest_first():
    model, part = prompted(pool=3, length=2, top=2)
    x = torch.rand(4, 1, 8, 8)
    query = model.encode(model.tokens(x)).mean(1).detach()
    keys = model.get_submodule(NAME)["key"].data
    cosine = F.normalize(query, dim=1) @ F.normalize(keys, dim=1).T
    output = part.answer(Given(model), x, None)
    pulled = 0.0
    for row in range(4):
        first, second = sorted(range(3), key=lambda k: -cosine[row, k].item())[:2]
        prompts = torch.cat([model.get_submodule(NAME)["prompt"][k] for k in (first, second)])
        encoded = model.encode(torch.cat([prompts[None], model.tokens(x[row : row + 1])], dim=1))
        wanted = encoded[0, :4].mean(0)
        torch.testing.assert_close(output.features[row], wanted)
        pulled += (cosine[row, first] + cosine[row, second]).item() / 4
    assert part.__dict__["noted"][1].item() == pytest.approx(pulled, abs=1e-6)


def test_only_prompts_keys_and_head_are_trained_and_the_body_keeps_its_bits():
    run = ready("l2p(pool=4, length=2, top=2)", "training.epochs=1", "evaluation.every=0")
    before = {name: p.detach().clone() for name, p in run.learner.model.named_parameters()}
    assert set(run.learner.slices) == {f"{NAME}.prompt", f"{NAME}.key", "head.weight", "head.bias"}
    run.train()
    for name, parameter in run.learner.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in run.learner.slices), name


def test_heads_of_earlier_classes_keep_their_bits_while_new_ones_are_learned():
    run = ready("l2p(pool=4, length=2, top=2)", "training.epochs=1", "evaluation.every=0", "stream.order=fixed")
    seen = []
    run.chain.end_experience += (lambda learner, _: seen.append(learner.model.head.weight.detach().clone()),)
    run.train()
    assert torch.equal(seen[0][:2], seen[-1][:2])
    assert not torch.equal(seen[0][2:4], seen[1][2:4])


def test_a_samples_answer_is_the_same_alone_and_among_63_others():
    run = trained("l2p(pool=6, length=2, top=3)", "evaluation.every=0")
    part, learner = run.chain.parts[0], run.learner
    learner.model.eval()
    x = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        together = part.answer(learner, x, None).logits
        alone = torch.cat([part.answer(learner, x[i : i + 1], None).logits for i in range(64)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_pull_raises_the_cosine_of_chosen_keys():
    means = {}
    for pull in (0, 5):
        run = trained(f"l2p(pool=4, length=2, top=2, pull={pull})", "training.epochs=3", "evaluation.every=0")
        x = run.learner.raw(torch.zeros(5, 1, dtype=torch.int64).expand(5, 1))
        run.chain.parts[0].answer(run.learner, x, None)
        means[pull] = run.chain.parts[0].__dict__["noted"][1].item()
    assert means[5] > means[0]


def test_what_cannot_be_is_refused():
    from clbench.adapters.run_setup import Skip

    with pytest.raises(Refused, match="top = 5 prompts cannot be chosen from a pool of 3; give at most 3"):
        ready("l2p(pool=3)")
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("l2p", "model={name: mlp}")


def test_the_pass_of_the_query_is_counted_in_training():
    run = trained("l2p(pool=4, length=2, top=2)", "training.epochs=1", "evaluation.every=1")
    assert run.learner.cost.extra_forward_rows == run.learner.cost.stream_rows
