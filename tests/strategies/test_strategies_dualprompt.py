"""DualPrompt: prefix tuning of one experience in a plain loop, choices by hand, and what keeps its bits."""

import math

import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models.vit import ViT
from clbench.strategies.dualprompt import NAME, DualPrompt

SMALL = "dualprompt(pool=5, g_length=2, e_length=3, g_blocks=1, e_blocks=1)"
ADAM = ("training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.1", "evaluation.every=0")


def attended(block, x, prefix):
    """One block on the tokens (N, D) of one sample, head by head, with a prefix of (keys, values)."""
    normed, own = block.attention_norm(x), block.attention
    q, k, v = own.query(normed), torch.cat([prefix[0], own.key(normed)]), torch.cat([prefix[1], own.value(normed)])
    width = q.shape[1] // own.heads
    mixed = []
    for head in range(own.heads):
        part = slice(head * width, (head + 1) * width)
        weights = torch.stack([k[:, part] @ row / math.sqrt(width) for row in q[:, part]]).softmax(1)
        mixed.append(weights @ v[:, part])
    x = x + own.output(torch.cat(mixed, dim=1))
    return x + block.down(F.gelu(block.up(block.mlp_norm(x))))


def prefix_tuned(model, general, own, x):
    """Logits of samples one by one: a general prefix in the first block, an own one in the second."""
    logits = []
    for row in range(len(x)):
        tokens = model.tokens(x[row : row + 1])[0]
        for block, prefix in zip(model.blocks, (general, own), strict=True):
            tokens = attended(block, tokens, prefix)
        logits.append(model.head(model.norm(tokens).mean(0)))
    return torch.stack(logits)


def queries(model, x):
    return model.encode(model.tokens(x)).mean(1)


def test_one_experience_is_prefix_tuning_in_a_plain_loop():
    run = ready(SMALL, "stream.experiences=1", "evaluation.every=0", "training.lr=0.5", "training.batch_size=20")
    model = run.learner.model
    first = {name: value.detach().clone() for name, value in model.state_dict().items()}
    seen = []
    run.chain.after_step += (lambda _, batch: seen.append((batch.x.clone(), batch.y.clone())),)
    run.train()
    ours = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(first)
    trained_ones = {name: p for name, p in model.named_parameters() if name in run.learner.slices}
    for parameter in trained_ones.values():
        parameter.grad = None
    parts = getattr(model, NAME)
    for x, y in seen:
        logits = prefix_tuned(model, parts["general"][0], parts["prompt"][0, 0], x)
        query = queries(model, x).detach()
        loss = F.cross_entropy(logits, y) - F.cosine_similarity(query, parts["key"][:1], dim=1).mean()
        grads = torch.autograd.grad(loss, list(trained_ones.values()))
        with torch.no_grad():
            for parameter, grad in zip(trained_ones.values(), grads, strict=True):
                parameter.data = parameter.data - 0.5 * grad
    assert len(seen) == 15
    assert not torch.equal(ours[f"{NAME}.general"], first[f"{NAME}.general"])
    for name, parameter in trained_ones.items():
        torch.testing.assert_close(parameter.data, ours[name], atol=2e-5, rtol=1e-4)


def test_a_sample_is_answered_with_the_prefix_of_the_nearest_key_among_experiences_that_began():
    run = trained(SMALL, "evaluation.every=0")
    part, learner = run.chain.parts[0], run.learner
    model, x = learner.model.eval(), torch.rand(12, 1, 8, 8)
    parts = getattr(model, NAME)
    with torch.no_grad():
        parts["key"].copy_(torch.randn(parts["key"].shape))
        for begun in (5, 2):
            part.state["begun"] = begun
            answer = part.answer(learner, x, None).logits
            query = queries(model, x)
            for row in range(12):
                cosine = [F.cosine_similarity(query[row], parts["key"][e], dim=0).item() for e in range(begun)]
                own = parts["prompt"][cosine.index(max(cosine)), 0]
                wanted = prefix_tuned(model, parts["general"][0], own, x[row : row + 1])[0]
                torch.testing.assert_close(answer[row], wanted, atol=1e-5, rtol=1e-5)


def test_other_prefixes_and_keys_and_the_body_keep_their_bits_under_adam_with_decay():
    run = ready(SMALL, *ADAM)
    model, kept = run.learner.model, []
    body = {name: p.detach().clone() for name, p in model.named_parameters() if name not in run.learner.slices}

    def keep(*_):
        kept.append({name: getattr(model, NAME)[name].detach().clone() for name in ("general", "prompt", "key")})

    keep()
    run.chain.end_experience += (keep,)
    run.train()
    assert len(body) > 10
    assert all(torch.equal(p, body[name]) for name, p in model.named_parameters() if name in body)
    assert len(kept) == 6
    for e in range(5):
        before, after = kept[e], kept[e + 1]
        assert not torch.equal(before["general"], after["general"])
        for name in ("prompt", "key"):
            same = [torch.equal(before[name][slot], after[name][slot]) for slot in range(5)]
            assert same == [slot != e for slot in range(5)], (name, e)


def test_a_samples_answer_is_the_same_alone_and_among_63_others():
    run = trained(SMALL, "evaluation.every=0")
    part, learner = run.chain.parts[0], run.learner
    learner.model.eval()
    x = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        together = part.answer(learner, x, None).logits
        alone = torch.cat([part.answer(learner, x[i : i + 1], None).logits for i in range(64)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("depth", "wanted"), [(12, (2, 3)), (5, (2, 3)), (4, (2, 2)), (3, (1, 2)), (2, (1, 1)), (1, (0, 1))]
)
def test_few_blocks_are_shared_in_the_ratio_of_the_settings(depth, wanted):
    assert DualPrompt().blocks(depth) == wanted
    model = ViT((1, 8, 8), 3, patch=4, width=6, depth=depth, heads=2, mlp_ratio=2.0)
    parts = getattr(DualPrompt(pool=4).build(model, (1, 8, 8), 3), NAME)
    if wanted[0]:
        assert parts["general"].shape == (wanted[0], 2, 5, 6)
    else:
        assert set(parts) == {"prompt", "key"}
    assert parts["prompt"].shape == (4, wanted[1], 2, 5, 6)


def test_what_cannot_be_is_refused_or_skipped():
    from clbench.adapters.run_setup import Skip

    run = ready("dualprompt(pool=3)")
    with pytest.raises(Refused, match=r"pool = 3 of dualprompt.* has 5; write dualprompt\(pool=5\)"):
        run.train()
    with pytest.raises(Skip, match="length of the stream, which is not revealed"):
        ready("dualprompt", "reveal=[]")
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("dualprompt", "model={name: mlp}")


def test_the_pass_of_the_query_is_counted_in_training():
    run = trained(SMALL, "training.epochs=1", "evaluation.every=1")
    assert run.learner.cost.extra_forward_rows == run.learner.cost.stream_rows
