"""Strategies by name: the table of recipes, each a part or a function that returns parts. No torch is imported here."""

from __future__ import annotations

from clbench.registry import Registry

STRATEGIES = Registry(
    "strategy",
    "clbench.strategies",
    {
        "naive": ("clbench.strategies.bounds:naive", "plain training on the stream as it comes; the lower bound"),
        "group_mask": (
            "clbench.strategies.group_mask:GroupMask",
            "only the classes of the minibatch compete in the loss",
        ),
        "joint": ("clbench.strategies.bounds:joint", "all rows of the stream at once; the usual upper bound"),
        "cumulative": ("clbench.strategies.bounds:cumulative", "all rows so far, experience after experience"),
        "er": ("clbench.strategies.replay:er", "experience replay: rows of memory beside the stream's"),
        "er_ace": ("clbench.strategies.er_ace:er_ace", "replay with an asymmetric cross-entropy"),
        "agem": ("clbench.strategies.agem:AGEM", "project the gradient so that memory's loss does not rise"),
        "ewc": ("clbench.strategies.ewc:EWC", "stay near old weights where the Fisher information is large"),
        "l2": ("clbench.strategies.l2:L2", "stay near the weights of the last boundary"),
    },
)
