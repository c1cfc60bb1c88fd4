"""``clbench quickstart``: the three commands that it shows work as printed, and nothing is overwritten."""

from __future__ import annotations

import errno
import re
import shlex
from pathlib import Path

import pytest
import torch
from command_line import call
from support import ready

from clbench import api, metrics
from clbench.benchmark import schema
from clbench.cli.scaffold import quickstart
from clbench.core.errors import Refused
from clbench.running.plan import plan


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_three_commands_work_as_printed_and_the_mean_lessens_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = call("quickstart", "mine")
    assert (shown.code, shown.err) == (0, "")
    assert "(cd mine)" in shown.out
    commands = [line.strip() for line in shown.out.splitlines() if line.startswith("  clbench ")]
    monkeypatch.chdir("mine")
    check, run, board = (call(*shlex.split(command)[1:]) for command in commands)
    assert (check.code, run.code, board.code) == (0, 0, 0), check.out + run.err + board.err
    assert check.out.endswith("The contract is kept.\n")
    assert "board.html written" in board.out
    records = api.records("results/my-benchmark")
    assert {(record.status, record.seed) for record in records} == {("done", seed) for seed in (0, 1, 2)}
    depth = {(r.label, r.seed): metrics.compute(r.trace, ["gap_depth"])["gap_depth"].value for r in records if r.trace}
    for seed in range(3):  # the published effect: the mean of the weights changes slowly at a switch
        assert depth["er + method.py:MeanWeights", seed] < 0.5 * depth["er", seed]


def test_the_benchmark_explains_every_section_and_its_last_comment_works_too() -> None:
    file, _ = quickstart(Path())
    text = file.read_text(encoding="utf-8")
    assert [
        name for name in schema.Benchmark.model_fields if not re.search(rf"^(# )?{name}:", text, re.MULTILINE)
    ] == []
    keys = [line for line in text.splitlines() if re.match(r"  \w+: ", line)]
    assert [line for line in keys if " # " not in line] == [
        "  name: mlp",
        "  lr: 0.01",
        "  batch_size: 64",
        "  ewc: {strength: 100}",
    ]
    file.write_text(text.replace("# reveal", "reveal").replace("  # - {", "  - {"), encoding="utf-8")
    labels = {cell.label for cell in plan(file).cells}
    assert "er slowly [lr=0.001]" in labels
    assert len(labels) == 5


def test_the_method_keeps_the_running_mean_of_the_weights() -> None:
    quickstart(Path())
    run = ready("method.py:MeanWeights(decay=0.75)")
    (part,) = run.chain.parts
    w = run.learner.w.detach()
    first, x = w.clone(), torch.zeros(3, *run.learner.batch(torch.zeros(5, 1, dtype=torch.int64)).x.shape[1:])
    part.after_step(run.learner, None)
    w.add_(4.0)
    part.after_step(run.learner, None)
    assert torch.allclose(part.state["mean"], first + 1.0)  # 0.75 * first + 0.25 * (first + 4)
    answered = part.answer(run.learner, x, None).logits
    w.copy_(first + 1.0)
    assert torch.allclose(answered, run.learner.model(x).logits, rtol=1e-4)
    with pytest.raises(Refused, match="decay"):
        ready("method.py:MeanWeights(decay=1)")


def test_a_full_disk_leaves_nothing_so_that_the_command_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, *rest: str, **more: str) -> int:
        if path.name == "method.py":
            write(path, "half of")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        answer = call("quickstart", "mine")
    assert (answer.code, answer.out) == (2, "")
    assert "mine cannot be written: No space left on device" in answer.err
    assert not Path("mine").exists()
    assert call("quickstart", "mine").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "this folder is not empty, and nothing is overwritten; name a new folder, like clbench quickstart mine"),
        (("."), "this folder is not empty"),
        (("file",), "file is a file; choose a folder, like clbench quickstart mine"),
        (("mine",), "the folder mine is not empty, and nothing is overwritten; name a new folder, like clbench"),
        (("file/below",), "file/below cannot be written: Not a directory; choose another folder"),
    ],
)
def test_nothing_is_overwritten(arguments: tuple[str, ...], words: str) -> None:
    Path("file").write_text("mine", encoding="utf-8")
    Path("mine").mkdir()
    Path("mine/method.py").write_text("mine", encoding="utf-8")
    answer = call("quickstart", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"clbench: {words}")
    assert answer.err.count("\n") == 1
    assert Path("mine/method.py").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in Path().rglob("*")) == ["file", "method.py", "mine"]


def test_hidden_files_do_not_make_a_folder_full() -> None:
    Path(".gitignore").write_text("results\n", encoding="utf-8")
    answer = call("quickstart")
    assert answer.code == 0
    assert "Next:\n" in answer.out
    assert Path("benchmark.yaml").is_file()
