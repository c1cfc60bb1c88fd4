"""Find the name that a user meant: other spellings, names that other libraries use, and mistyped ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    # settings of benchmarks
    "learningrate": ("lr", "training.lr"),
    "stepsize": ("lr", "training.lr"),
    "eta": ("lr", "training.lr"),
    "minlr": ("end",),
    "bs": ("batch_size",),
    "mbsize": ("batch_size",),
    "minibatchsize": ("batch_size",),
    "trainmbsize": ("batch_size",),
    "batch": ("batch_size",),
    "nepochs": ("epochs",),
    "numepochs": ("epochs",),
    "trainepochs": ("epochs",),
    "passes": ("epochs",),
    "steps": ("iterations",),
    "niters": ("iterations",),
    "iters": ("iterations",),
    "optim": ("optimizer",),
    "optimiser": ("optimizer",),
    "opt": ("optimizer",),
    "wd": ("weight_decay",),
    "l2reg": ("weight_decay",),
    "scheduler": ("lr_schedule",),
    "lrscheduler": ("lr_schedule",),
    "milestones": ("lr_schedule",),
    "lrmilestones": ("lr_schedule",),
    "initepoch": ("first",),
    "firstepochs": ("first",),
    "lrscales": ("lr_scale",),
    "lrmult": ("lr_scale",),
    "backbonelr": ("lr_scale",),
    "gradclip": ("clip_norm",),
    "clip": ("clip_norm",),
    "numthreads": ("threads",),
    "augmentation": ("augment",),
    "transform": ("augment",),
    "buffer": ("memory.size", "memory"),
    "buffersize": ("size", "memory.size"),
    "memsize": ("size", "memory.size"),
    "memorysize": ("size", "memory.size"),
    "replaysize": ("size", "memory.size"),
    "memories": ("memory.size",),
    "storagepolicy": ("policy", "memory.policy"),
    "nexperiences": ("experiences", "stream.experiences"),
    "ntasks": ("experiences", "stream.experiences"),
    "numtasks": ("experiences", "stream.experiences"),
    "tasks": ("experiences", "stream.experiences"),
    "data": ("stream.dataset",),
    "network": ("model.name", "model"),
    "net": ("model.name", "model"),
    "backbone": ("model.name", "model"),
    "arch": ("architecture", "model.name"),
    "architecture": ("model.name",),
    "hiddensize": ("hidden",),
    "hiddensizes": ("hidden",),
    "hiddendim": ("hidden",),
    "layers": ("hidden",),
    "units": ("hidden",),
    "evalevery": ("every", "evaluation.every"),
    "testevery": ("every", "evaluation.every"),
    "incremental": ("setting",),
    "methods": ("strategies",),
    "method": ("strategies",),
    "strategy": ("strategies",),
    "seed": ("seeds",),
    # parameters of strategies
    "lambda": ("strength", "alpha"),
    "lambd": ("strength", "alpha"),
    "lamda": ("strength", "alpha"),
    "lam": ("strength", "alpha"),
    "ewclambda": ("strength",),
    "silambda": ("strength",),
    "importance": ("strength",),
    "reg": ("strength",),
    "weight": ("strength", "alpha"),
    "coefficient": ("strength", "alpha"),
    "alpha": ("strength",),
    "tau": ("temperature",),
    "replaybatchsize": ("rows",),
    "batchsizemem": ("rows",),
    "samples": ("rows",),
    # strategies
    "finetune": ("naive",),
    "finetuning": ("naive",),
    "sgd": ("naive",),
    "baseline": ("naive",),
    "lowerbound": ("naive",),
    "replay": ("er",),
    "rehearsal": ("er",),
    "experiencereplay": ("er",),
    "der++": ("derpp",),
    "multitask": ("joint",),
    "offline": ("joint",),
    "upperbound": ("joint",),
    "synapticintelligence": ("si",),
    "learningwithoutforgetting": ("lwf",),
    "distillation": ("pred_kd", "lwf"),
    "kd": ("pred_kd",),
    # metrics
    "accuracy": ("acc",),
    "finalaccuracy": ("acc",),
    "averageaccuracy": ("acc",),
    "avgacc": ("acc",),
    "testaccuracy": ("acc",),
    "anytimeaccuracy": ("aaa",),
    "minacc": ("min_acc",),
    "worstcaseaccuracy": ("wc_acc",),
    "worstcase": ("wc_acc",),
    "backwardtransfer": ("bwt",),
    "forwardtransfer": ("fwt",),
    "forget": ("forgetting",),
    "plasticity": ("la",),
    "learningaccuracy": ("la",),
    "incrementalaccuracy": ("aia",),
    "gap": ("gap_depth",),
    "stabilitygap": ("gap_depth",),
    # models, scenarios, data sets
    "linear": ("mlp",),
    "fc": ("mlp",),
    "conv": ("cnn",),
    "convnet": ("cnn",),
    "resnet18": ("resnet",),
    "resnet20": ("resnet_cifar",),
    "resnet32": ("resnet_cifar",),
    "resnet56": ("resnet_cifar",),
    "cifarresnet": ("resnet_cifar",),
    "transformer": ("vit",),
    "classincremental": ("split",),
    "taskincremental": ("split",),
    "splitclasses": ("split",),
    "permutation": ("permuted",),
    "rotation": ("rotated",),
    "cifar": ("cifar10",),
    "fashionmnist": ("fashion_mnist",),
    # commands and options
    "train": ("run",),
    "start": ("run",),
    "launch": ("run",),
    "leaderboard": ("board",),
    "table": ("board",),
    "export": ("board",),
    "ls": ("list",),
    "info": ("show",),
    "describe": ("show",),
    "draw": ("plot",),
    "figure": ("plot",),
    "test": ("check",),
    "validate": ("check",),
    "init": ("quickstart",),
    "create": ("new",),
    "workers": ("--jobs",),
    "numworkers": ("--jobs",),
    "gpu": ("--device",),
    "output": ("--out",),
    "o": ("--out",),
    "j": ("--jobs",),
    "s": ("--seeds",),
    "h": ("--help",),
    "outdir": ("--out",),
    "outputdir": ("--out",),
    "plugins": ("--plugin",),
}
"""A name as other libraries and papers write it, without case and separators -> the names here, the likeliest first."""


def fold(name: str) -> str:
    """Return a name without case and separators: ``Split-Digits`` and ``split_digits`` are one."""
    return "".join(letter for letter in name.lower() if letter not in "-_ .")


def same(name: str, known: Iterable[str]) -> str:
    """Return the known name that is another spelling of a name, or that other libraries call so; empty if none is."""
    listed = list(known)
    if not fold(name):
        return ""
    spelled = next((each for each in listed if fold(each) == fold(name)), "")
    return spelled or next((each for each in OTHER_NAMES.get(fold(name), ()) if each in listed), "")


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the known name that is meant by a name: the same, or else the most similar one; empty if none is similar.

    Args:
        name: What the user wrote.
        known: The names that exist.
        cutoff: The least similarity, between 0 and 1.
    """
    listed = sorted(known)
    found = same(name, listed)
    if found:
        return found
    lowered = {each.lower(): each for each in listed}  # of two spellings the one in lower case
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    if near:
        return lowered[near[0]]
    meant = get_close_matches(fold(name), OTHER_NAMES, n=1, cutoff=0.85) if len(name) > 4 else []
    return next((each for other in meant for each in OTHER_NAMES[other] if each in listed), "")
