"""Typical mistakes of users: each is answered in one sentence that names the cure, with exit code 2 and no traceback.

The mistakes are made in a folder that holds ``mine.yaml``, ``wrong.yaml``, ``idea.py``, ``broken.py``, a file called
``file``, an empty folder called ``empty``, results in ``res``, and a table and a network file.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from command_line import call

import clbench

BENCHMARK = """\
name: mine
stream: {scenario: split, dataset: digits}
model: {name: mlp}
"""
WRONG = """\
name: wrong
stream: {scenario: split, dataset: digits}
model: {name: mlp}
learning_rate: 0.1
"""
IDEA = """\
import clbench


class Idea(clbench.Part):
    pass


NUMBER = 3
"""
NETS = """\
import torch


class Net(torch.nn.Module):
    pass
"""
TABLE = "age,kind,sick\n1,a,yes\n2,b,no\n,a,yes\n4,b,no\n5,a,yes\n6,b,no\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("work")
    (made / "mine.yaml").write_text(BENCHMARK, encoding="utf-8")
    (made / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    (made / "noname.yaml").write_text("stream: {scenario: split, dataset: digits}\n", encoding="utf-8")
    (made / "list.yaml").write_text("- er\n", encoding="utf-8")
    (made / "tab.yaml").write_text("name: a\n\tstream: b\n", encoding="utf-8")
    (made / "idea.py").write_text(IDEA, encoding="utf-8")
    (made / "broken.py").write_text("import numpyy\n", encoding="utf-8")
    (made / "nets.py").write_text(NETS, encoding="utf-8")
    (made / "table.csv").write_text(TABLE, encoding="utf-8")
    (made / "file").write_text("no folder", encoding="utf-8")
    (made / "empty").mkdir()
    clbench.run("split-digits", strategies="naive, er", seeds=1, overrides={"training.epochs": 1}, out=made / "res")
    return made


FILES = [
    ("strategies: er", "line 4: strategies = 'er' is not allowed: input should be a valid list; write [er]"),
    (
        "strategies: [{strategy: er, lr: 0.1}]",
        "line 4: a strategy may override training, tuning (a mapping), not 'lr'; write training",
    ),
    ("strategies: [{strategy: er, memory: {size: 3}}]", "memory and evaluation are equal for all"),
    ("strategies: [{ewc: {lambda: 3}}]", "line 4: strategy 'ewc' has no parameter 'lambda'; did you mean 'strength'?"),
    ("strategies: []", "it needs at least 1 entry"),
    ("defaults: {EWC: {strength: 3}}", "did you mean 'ewc'?"),
    (
        "defaults: {ewc: {lambda: 3}}",
        "line 4: defaults for strategy 'ewc': no parameter 'lambda'; did you mean 'strength'?",
    ),
    ("seeds: many", "line 4: seeds = 'many' is not allowed: input should be a whole number"),
    ("training: {epochs: 1.5}", "line 4: training.epochs = 1.5 is not allowed: input should be a whole number"),
    ("training: {lr: 0.1, lr: 0.2}", "line 4: not valid YAML: found duplicate key"),
    ("epochs: 3", "line 4: unknown key 'epochs'; did you mean 'training.epochs'"),
    ("Training: {lr: 0.1}", "line 4: unknown key 'Training'; did you mean 'training'?"),
    ("evaluation: 3", "write evaluation: {every: 3} in a file"),
    ("reveal: [lenght]", "'length'"),
]


@pytest.mark.parametrize(("line", "words"), FILES, ids=[line for line, _ in FILES])
def test_a_typical_mistake_in_a_benchmark_file_is_answered_with_its_line(line: str, words: str, folder: Path) -> None:
    (folder / "mistaken.yaml").write_text(f"{BENCHMARK}{line}\n", encoding="utf-8")
    answer = call("run", "mistaken.yaml", "--dry-run", "--no-time")
    (folder / "mistaken.yaml").unlink()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("clbench: mistaken.yaml, line 4: ")
    assert answer.err.count("\n") == 1
    assert words in answer.err


@pytest.fixture(autouse=True)
def _in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")


RUN = "run split-digits --dry-run --no-time"

COMMANDS = [
    ("runn split-digits", "there is no command 'runn'; did you mean clbench run?"),
    ("train split-digits", "did you mean clbench run?"),
    ("leaderboard results", "did you mean clbench board?"),
    ("split-digits", "did you mean clbench run split-digits?"),
    ("mine.yaml", "did you mean clbench run mine.yaml?"),
    ("help", "did you mean clbench --help?"),
    ("--versoin", "did you mean --version?"),
    (
        "run",
        "BENCHMARK is missing (a shipped name (clbench list benchmarks) or a YAML file); write it like",
    ),
    ("board", "DIR... is missing (result folders of clbench run); write it like clbench board"),
    ("new strategy", "NAME is missing"),
    ("new benchmark mine", "there is no command 'benchmark'; known: strategy"),
    ("list strategies metrics", "'metrics' is one word too many"),
    ("list strategy", "did you mean 'strategies'?"),
]
OPTIONS = [
    (
        f"{RUN} --epochs 3",
        "no option --epochs; settings of the benchmark are written --set training.epochs=VALUE",
    ),
    (f"{RUN} --lr 0.1", "--set training.lr=VALUE"),
    (f"{RUN} --learning-rate 0.1", "--set training.lr=VALUE"),
    (f"{RUN} --buffer-size 100", "--set memory.size=VALUE"),
    (f"{RUN} --seed 3", "did you mean --seeds?"),
    (f"{RUN} --strategy er", "did you mean --strategies?"),
    (f"{RUN} --gpu", "did you mean --device?"),
    (f"{RUN} --workers 2", "did you mean --jobs?"),
    (f"{RUN} -o results", "did you mean --out?"),
    (
        f"{RUN} --strategies naive er",
        "'er' is one word too many; quote a text with spaces, like",
    ),
    (f"{RUN} --wandb maybe", "'maybe' is not one of 'online', 'offline', 'disabled'"),
    ("run split-digits --set", "--set needs a value"),
    (f"{RUN} --seeds one", "write 5 (for 0 to 4), 0-9, 0,1,2 or 3, (for 3 alone)"),
    (f"{RUN} --seeds 0", "at least one is needed"),
    (f"{RUN} --seeds 1,1", "none twice"),
    ("run split-digits --device tpu", "choose cpu, cuda or auto"),
    ("run split-digits --jobs many", "give a number from 1, or auto"),
    ("run split-digits --jobs 0", "give a number from 1, or auto"),
    ("run split-digits --out file/below", "choose another --out"),
    ("run split-digits --executor slurm", "there is no executor called 'slurm'"),
    ("run split-digits --executor rai:10.0.0.1:6379", "there is no executor called 'rai'; did you mean 'ray'?"),
    ("run split-digits --executor local:4", "the executor 'local' takes nothing after its name; write local in place"),
    ("run split-digits --executor ray:somewhere", "write ray:HOST:PORT, such as ray:10.0.0.1:6379"),
    ("run split-digits --executor ray --gpus-per-cell 0.2", "needs a GPU as device; add --device cuda"),
    ("run split-digits --gpus-per-cell 0.2", "does not divide GPUs among cells; leave gpus_per_cell out"),
    ("run split-digits --time-limit soon", "2h"),
    ("run split-digits --memory-limit much", "8GB"),
    (f"run split-digits --strategies {'er' * 300}", "there is no strategy called"),
    (f"run {'er' * 300}", "is too long for the name of a file"),
    (f"run split-digits --strategies {'er' * 300}.py:X", "is too long for the name of a file"),
    (f"board {'er' * 300}", "is too long for the name of a file"),
    (f"tune {'er' * 300} --strategies er", "is too long for the name of a file"),
    ("run split-digits --memory-limit 150%", "write at most 100%"),
    ("run split-digits --in-process --jobs 2", "--in-process runs one cell at a time; leave it out with --jobs 2"),
    ("run split-digits --in-process --executor ray", "--in-process and --executor ray contradict each other"),
    ("run split-digits --no-time", "--no-time belongs to --dry-run; add --dry-run"),
    ("run split-digits --snapshot-every often", "300s or 5m, or 0 for one only when the run is stopped"),
    ("run split-digits --progress dots", "'bars', 'lines', 'json', 'none'"),
    (f"{RUN} --plugin idea", "--plugin idea is no Python file; give a FILE.py that defines strategies"),
    (f"{RUN} --plugin ideas.py", "which cannot be read: {folder} has no such file; did you mean 'idea.py'?"),
    (f"{RUN} --plugin broken.py", "broken.py does not import: ModuleNotFoundError: No module named 'numpyy'"),
]
BENCHMARKS = [
    ("run split-digit", "did you mean 'split-digits'?"),
    ("run splitt-digits", "did you mean 'split-digits'?"),
    ("run Split_Digits", "did you mean 'split-digits'?"),
    ("run split-digits@9", "did you mean 'split-digits@2'?"),
    (
        "run split-cifar100",
        "write one: a file split-cifar100.yaml with the line {name: split-cifar100, stream: {",
    ),
    ("run mine", "did you mean the file 'mine.yaml'?"),
    ("run my.yaml", "there is no file 'my.yaml': {folder} has no such file; did you mean 'mine.yaml'?"),
    ("run empty/my.yaml", "{folder}/empty has no such file; `clbench quickstart DIR` writes a benchmark file"),
    ("run nowhere/my.yaml", "the folder {folder}/nowhere does not exist"),
    ("run split-digits.yaml", "write split-digits, without .yaml, for the benchmark of this name"),
    ("run empty", "the benchmark file empty cannot be read: it is a folder, not a file"),
    ("run file", "a benchmark file is a mapping"),
    ("run list.yaml", "a benchmark file is a mapping with name, stream, model"),
    ("run tab.yaml", "tab.yaml, line 2: not valid YAML"),
    ("run noname.yaml", "the key 'name' is missing; add it, like name: my-benchmark"),
    ("run wrong.yaml", "wrong.yaml, line 4: unknown key 'learning_rate'; did you mean 'training.lr'"),
]
SETTINGS = [
    ("tuning.protocol=chff", "there is no such protocol; did you mean 'chf'?"),
    ("tuning.protocol=first:2", "first:2 compares whole runs; use clbench tune --protocol first:2, or write chf here"),
    ("tuning=chf", "write tuning: {protocol: chf} in a file, or --set tuning.protocol=chf"),
    ("tuning={protocol: chf, knobs: [ecw.strength]}", "no strategy is called 'ecw'; did you mean 'ewc'?"),
    ("tuning={protocol: chf, tries: 0}", "tuning.tries = 0 is not allowed: input should be greater than or equal to 1"),
    ("lr=0.1", "unknown key 'lr'; did you mean 'training.lr', the setting lr of training?"),
    ("learning_rate=0.1", "did you mean 'training.lr'"),
    ("training.learning_rate=0.1", "did you mean 'lr'?"),
    ("training.lrr=0.1", "did you mean 'lr'?"),
    ("training.hidden=3", "did you mean 'model.hidden'"),
    ("stream.lr=3", "scenario 'split' has no parameter 'lr'; did you mean 'training.lr'"),
    ("model.hiden=5", "did you mean 'hidden'?"),
    ("stream.n_experiences=5", "did you mean 'experiences'?"),
    ("dataset=mnist", "did you mean 'stream.dataset'"),
    ("mem_size=200", "did you mean 'memory.size'"),
    ("size=8", "did you mean 'memory.size' or 'stream.dataset.size'?"),
    ("memory=200", "memory is a section; write memory: {size: 200} in a file, or --set memory.size=200"),
    ("model=cnn", "write model: {name: cnn} in a file, or --set model.name=cnn"),
    ("training.lr", "write it like --set training.lr=0.03"),
    ("training.lr=[", "is not valid YAML"),
    ("training.lr=fast", "input should be a number"),
    ("training.lr=-1", "greater than 0"),
    ("training.optimizer=rmsprop", "there is no optimizer 'rmsprop'; known: adam, adamw, sgd"),
    ("stream.dataset=mnits", "did you mean 'mnist'?"),
    ("stream.scenario=splt", "did you mean 'split'?"),
    ("model.name=convnet", "did you mean 'cnn'?"),
    ("stream.experiences=11", "'digits' has 10 classes, too few for 11 experiences"),
    ("seed=3", "did you mean 'seeds'?"),
]
STRATEGIES = [
    ("naive, eer", "did you mean 'er'?"),
    ("ER", "there is no strategy called 'ER'; did you mean 'er'?"),
    ("finetune", "did you mean 'naive'?"),
    ("DER++", "did you mean 'derpp'?"),
    ("naive er", "write 'naive + er' for one strategy of several parts, or 'naive, er' for several strategies"),
    ("er(", "a bracket or quote is not closed"),
    ("er(row=3)", "did you mean 'rows'?"),
    ("er(rows=many)", "rows = 'many' is not allowed"),
    ("ewc(lambda=3)", "'lambda' is a word of Python and cannot name a parameter; ewc calls it 'strength'"),
    ("der(lambda=3)", "der calls it 'alpha'"),
    ("ewc(importance=3)", "did you mean 'strength'?"),
    ("ewc(3)", "parameters are written name=value, like ewc(strength=3)"),
    ("ewc(strength=-1)", "greater than or equal to 0"),
    ("si", "strategy 'si' needs a value for 'strength'"),
    ("derpp", "needs values for 'alpha' and 'beta' (they have no published default); write them as alpha=..., beta"),
    ("er + er", "er and er cannot be joined: both set the stream coefficient; keep one of them"),
    ("sklearn:GausianNB", "did you mean 'GaussianNB'?"),
    ("far/mine.py:Mine", "the folder {folder}/far does not exist"),
    ("idea.py:Mine", "idea.py has no 'Mine' to be a strategy; known:"),
    ("idea.py:NUMBER", "idea.py:NUMBER is an int; a strategy is a class, or a function that makes one"),
    ("broken.py:Mine", "broken.py does not import: ModuleNotFoundError: No module named 'numpyy'"),
    ("idea.py", "write idea.py:NAME for an object in that file"),
    ("idea", "write idea.py:NAME for an object in that file"),
]
RESULTS = [
    ("show naiv", "did you mean 'naive'?"),
    ("show accuracy", "did you mean 'acc'?"),
    ("show lr", "training.lr is a setting of benchmarks; write --set training.lr=VALUE"),
    ("show 'er(rows=3)'", "show takes one name without settings; write clbench show er"),
    ("show nothing.json", "a record is DIR/records/KEY.json"),
    ("show er --plot stream.png", "--plot and --set need a benchmark"),
    ("check ER", "did you mean 'er'?"),
    ("check er --set rows=3", "write a strategy's parameters as NAME(key=value)"),
    ("check er --kind method", "'method' is not one of 'strategy', 'scenario'"),
    ("board nowhere", "give a directory that `clbench run --out DIR` has written"),
    ("board empty", "empty holds no records"),
    ("verify", "BUNDLE|DIR... is missing"),
    ("verify nowhere", "nowhere does not exist; give a bundle of clbench submit, or a result folder"),
    ("verify empty", "empty holds no records and no bundle; give a bundle of clbench submit"),
    ("verify file", "write one with `clbench submit DIR -o bundle.zip`"),
    ("verify res --fresh 3", "add --rerun, such as --rerun 3"),
    ("verify res --device gpu", "device 'gpu' is not known; choose cpu, cuda or auto"),
    ("verify res --data-dir nowhere", "there is no folder nowhere; give the folder of data sets, or leave it out"),
    ("verify res --rerun 1 --jobs many", "jobs = 'many' is not possible; give a number from 1, or auto"),
    ("verify res --rerun -1", "rerun and fresh are numbers from 0"),
    ("verify res -o report.txt", "cannot write a report as 'report.txt'; end its name in .json"),
    ("site res", "--output is missing"),
    ("site nowhere -o new", "nowhere does not exist; give result folders"),
    ("site empty -o new", "empty holds no records; give a directory"),
    ("site res -o res", "res is not empty and holds no earlier site; choose a new or empty folder with -o FOLDER"),
    ("site res -o file", "file is no folder; choose a new folder"),
    ("plot nowhere -o x.png", "nowhere holds no records, because there is no such folder; give a directory"),
    ("status nowhere", "nowhere holds no records and no plan, because there is no such folder; give a folder"),
    ("plot nowhere --kind matrx -o x.png", "did you mean 'matrix'?"),
    ("plot nowhere --kind matrix", "--kind matrix is a picture: add -o FILE.png"),
    ("new strategy my-method", "'my-method' cannot be the name of a strategy"),
    ("new strategy er", "a strategy called 'er' exists already"),
    (
        "quickstart",
        "this folder is not empty, and nothing is overwritten; name a new folder, like",
    ),
]
TUNE = "tune split-digits --strategies ewc"
TUNING = [
    ("tune split-digits", "--strategies is missing"),
    ("tune split-digits --strategies naive", "naive has no settings of its own to tune; leave it out"),
    (f"{TUNE} --protocol frist", "there is no protocol 'frist'; did you mean 'first'?"),
    (f"{TUNE} --protocol first:9", "split-digits has 5 experiences, and the search has to end before the stream does"),
    (f"{TUNE} --protocol other:split-digits-task", "share 10 classes (0, 1, 2, ...); choose a benchmark with other"),
    (f"{TUNE} --protocol other:split-digit", "did you mean 'split-digits'?"),
    (
        f"{TUNE} --seeds 1,2",
        "also of split-digits, whose results would then depend on the choice; choose others, such as",
    ),
    (f"{TUNE} --trials 1", "trials = 1 is not possible; give a number from 2"),
    (f"{TUNE} --sampler grid", "there is no sampler 'grid'; known: qmc, random, tpe"),
    (f"{TUNE} --metric accuracy", "did you mean 'acc'?"),
    (f"{TUNE} --space ewc.strenght=1:10", "did you mean 'strength'?"),
    (f"{TUNE} --space ewc.strength=-1:10", "which the setting does not allow"),
    ("run split-digits --tuned nowhere.yaml", "nowhere.yaml cannot be read: {folder} has no such file"),
    ("run split-digits --tuned empty", "--tuned empty is a folder; give a file that clbench tune has written"),
    ("run split-digits --tuned mine.yaml", "mine.yaml holds no tuned settings"),
]
TABLE_OF = "stream.dataset={{name: csv:table.csv, {}}}"
OWN = [
    (TABLE_OF.format("label: sik"), "has no column 'sik'; did you mean 'sick'?"),
    (
        TABLE_OF.format("label: sick, split: {test: 0.3}, categories: one-hot"),
        "column 'age' lacks 1 of 6 values; set missing: mean",
    ),
    (TABLE_OF.format("label: sick, split: {tst: 0.3}"), "'tst' is not known in it; write {test: 0.2, seed: 0}"),
    ("stream.dataset=table.csv", "there is no data set called 'table.csv'; write csv:table.csv"),
    ("stream.dataset=data/pictures", "write folder:data/pictures"),
    ("stream.dataset=csv:tabel.csv?label=sick", "tabel.csv"),
    ("stream={scenario: by_group, dataset: digits}", "needs a data set with a column of groups, and 'digits' has none"),
    ("model.name=nets.py:Nett", "nets.py has no 'Nett' to be a model; did you mean 'Net'?"),
    ("model.name=nest.py:Net", "{folder} has no such file; did you mean 'nets.py'?"),
    ("model.name=nets.py", "write nets.py:NAME for an object in that file"),
    ("training.optimizer=nets.py:Lion", "nets.py has no 'Lion' to be an optimizer"),
    ("training.stop=3", "write training.stop: {patience: 3} in a file, or --set training.stop.patience=3"),
    ("training.stop={patence: 3}", "did you mean 'patience'?"),
    ("training.stop={patience: 3}", "set stream.dataset.validation, such as 0.1 for a tenth"),
    ("training.augment=crop-flipp", "did you mean 'crop-flip'?"),
    ("training.lr_schedule=cosin", "did you mean 'cosine'?"),
    ("evaluation.schedule=densee", "did you mean 'dense'?"),
    ("memory.policy=random", "'reservoir', 'class_balanced'"),
    ("stream.dataset.normalize=mean_std", "'none' or 'mean-std'"),
    ("stream.dataset.validation=2", "it is the fraction held out, in [0, 1)"),
]
TABLES = [
    ("board res --format latx", "did you mean 'latex'?"),
    ("board res --format parquet", "is a file for programs: add -o FILE.parquet"),
    ("board res --format parket", "did you mean 'parquet'?"),
    ("board res -o two.parquet --decimals 3", "hold numbers in full; leave out --decimals"),
    ("board res --columns grop", "did you mean 'group'?"),
    ("board res --metrics accuracy", "did you mean 'acc'?"),
    ("board res -o table.xlsx", "cannot write a leaderboard as 'table.xlsx'; end its name in .md, .csv"),
    ("board res --rename mine", "write the old name, =, and the new one: --rename 'mine=Ours'"),
    ("board res --rename 'mine=Ours'", "no strategy or benchmark is called 'mine' in these results; known: er, naive"),
    ("board res --rows eer", "did you mean 'er'?"),
    ("board res --order best", "is no order; choose rank, name, a metric or strategies"),
    ("board res --decimals 20", "choose 0 to 9"),
    ("board res --rank-by accc", "there is no metric called 'accc'; did you mean 'acc'?"),
    ("board res --rank-by gap_depth", "choose a metric that has a best value, like acc or wc_acc"),
    ("board res --versus eer", "no strategy is called 'eer' in these results; did you mean 'er'?"),
    ("board res --versus er --rows naive", "--versus er is not among --rows; name it there too"),
    ("board res --within step=5", "the records have no such cost; did you mean 'steps'?"),
    ("board res --within steps", "--within 'steps' has no limit; write it as --within memory_bytes=1e6,steps=500"),
    ("board res --within steps=few", "--within steps=few is no limit; write a number from 0, like steps=1e6"),
    ("board res --seeds 3-1", "seeds '3-1' cannot be read; write 5 (for 0 to 4), 0-9, 0,1,2 or 3, (for 3 alone)"),
    (
        "board res --seeds 0-2",
        "--seeds: no record has seeds 1, 2, and a row needs all seeds to be ranked; the records have seed 0",
    ),
    ("board res --pairs --format hub -o hub", "writes all records with all metrics; leave out --pairs"),
    ("board res res2 --across", "res2 holds no records"),
    ("board res --accross", "did you mean --across?"),
]
PICTURES = [
    ("plot res -o gap.bmp", "cannot write a picture as 'gap.bmp'; end its name in .png, .svg, .pdf"),
    ("plot res -o gap.png --width 0", "choose 1 to 60"),
    ("plot res -o gap.png --font-size 90", "choose 3 to 40"),
    ("plot res -o gap.png --per-panel 0", "choose 1 or more"),
    ("plot res -o gap.png --strategies eer", "did you mean 'er'?"),
    ("plot res --kind classes -o c.png", "run the benchmark with --set evaluation.classes=true"),
    ("plot res --kind confusion -o c.png", "with --save-predictions"),
]
MODELS = [
    ("ablate", "STRATEGY is missing"),
    ("ablate er --against", "--against needs a value"),
    ("ablate er --against eer", "did you mean 'er'?"),
    ("ablate er --against er", "name two different ones"),
    ("run split-digits --shard 17/16", "shard = '17/16' does not exist; the shares of 16 are 1/16 to 16/16"),
    ("run split-digits --shard 0/4", "shard = '0/4' does not exist; the shares of 4 are 1/4 to 4/4"),
    ("run split-digits --shard x", "write the share and how many there are, such as 3/16"),
    ("status", "DIR is missing"),
    ("status empty", "empty holds no records and no plan; give a folder that `clbench run --out DIR` has written"),
    ("statsu res", "did you mean clbench status?"),
    ("diff res", "B is missing"),
    ("diff res empty", "empty holds no records; give a directory that `clbench run --out DIR` has written"),
    ("diff res ress", "ress holds no records"),
    ("merge res", "--output is missing"),
    ("merge res -o new", "a merge needs two result folders or more; write clbench merge A B -o C"),
    ("merge res res -o new", "res and res are one folder; name each result folder once"),
    ("merge res empty -o new", "empty holds no records"),
    ("merge res empty -o res", "res lies in res, which is to be merged; choose a folder outside of it for -o"),
    ("merge res empty -o file", "file is a file; choose a new folder for -o"),
    ("merge res/records empty -o res", "res/records lies in res; choose a new folder for -o"),
    ("submit res -o b.zip --licence MIT", "--contact is missing"),
    ("submit res -o b.zip --contact a@b.org", "--licence is missing"),
    ("submit res --contact a@b.org --licence MIT", "--output is missing"),
    ("submit res -o b.tar --contact a@b.org --licence MIT", "cannot write a bundle as 'b.tar'; end its name in .zip"),
    ("submit empty -o b.zip --contact a@b.org --licence MIT", "empty holds no records; give a folder"),
    ("submit res -o b.zip --contact me --licence MIT", "the contact 'me' is no e-mail address and no web address"),
    ("submit res -o b.zip --contact a@b.org --licence 'my own!'", "the licence 'my own!' is no SPDX identifier"),
    ("submit res -o b.zip --contact a@b.org --licence MIT", "er has no result for seeds 1, 2, 3, 4 of split-digits"),
    ("submit res -o no/b.zip --contact a@b.org --licence MIT", "er has no result for seeds 1, 2, 3, 4 of split-digits"),
    ("forget", "DIR... is missing"),
    ("forget res", "forget needs to know which cells: give --strategies, --key, --failed or --older"),
    ("forget res --strategies eer --yes", "no cell has the strategy 'eer'; did you mean 'er'?"),
    ("forget res --key zzz --yes", "no cell has a key that begins with 'zzz'; `clbench show DIR` lists them"),
    ("export res er", "--output is missing (the file to write: model.pt"),
    ("export res eer -o model.pt", "did you mean 'er'?"),
    ("export res er -o model.h5", "end its name with one of .pt"),
    ("export res er -o model.pt", "with --save-model, which runs the cells without a kept model again"),
    ("show res zzz", "no cell in res has a key that begins with 'zzz'; `clbench show res` lists them"),
    ("show er --traceback", "--traceback needs a record"),
    ("check idea.py:NUMBER", "idea.py:NUMBER is an int"),
    ("path", "DIR is missing"),
    ("path res", "repeat the command of the run with --save-ends"),
    ("path res --strategies eer", "did you mean 'er'?"),
    ("path res --points 2", "a line has 3 or more"),
    ("path res -o path.tiff", "end its name in .png, .svg, .pdf, .csv, .json"),
    ("path res -o path.csv --width 3", "--width is for pictures"),
    ("run mine.yaml --save-ends --save-model final", "leave one out"),
    ("sensitivity split-digits --strategies eer", "did you mean 'er'?"),
    ("run split-digits --rerun old", "invalid value for '--rerun': 'old' is not one of 'stale'"),
]
MISTAKES = [
    *COMMANDS,
    *OPTIONS,
    *BENCHMARKS,
    *((f"{RUN} --set '{setting}'", words) for setting, words in SETTINGS),
    *((f"{RUN} --strategies '{text}'", words) for text, words in STRATEGIES),
    *RESULTS,
    *TUNING,
    *((f"{RUN} --set '{setting}'", words) for setting, words in OWN),
    *TABLES,
    *PICTURES,
    *MODELS,
]


@pytest.mark.parametrize(("line", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_typical_mistake_is_answered_in_one_sentence_that_names_the_cure(line: str, words: str, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    answer = call(*shlex.split(line))
    assert words.replace("{folder}", str(folder.resolve())) in answer.err
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("clbench: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    made = [path for path in folder.rglob("*") if path not in before]
    assert [path for path in made if not {"__pycache__", ".cache"} & set(path.parts)] == []  # may be deleted


def test_the_line_for_a_benchmark_that_is_not_shipped_is_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    from clbench.running.plan import plan

    line = call("run", "split-kmnist").err.partition("with the line ")[2]
    Path("split-kmnist.yaml").write_text(line, encoding="utf-8")
    made = plan("split-kmnist.yaml")
    assert made.benchmark.name == "split-kmnist"
    assert made.benchmark.stream == {"scenario": "split", "dataset": "kmnist", "experiences": 5}
    assert {cell.label for cell in made.cells} == {"naive", "er", "joint"}
    Path("split-kmnist.yaml").unlink()


def test_there_are_at_least_sixty_mistakes_and_none_twice() -> None:
    lines = [line for line, _ in MISTAKES]
    assert len(lines) >= 60
    assert len(set(lines)) == len(lines)
