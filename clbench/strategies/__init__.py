"""Strategies by name: the table of recipes, each a part or a function that returns parts; learners of
other libraries are found through their adapters. No torch is imported here."""

from __future__ import annotations

from clbench.core.registry import Registry

STRATEGIES = Registry(
    "strategy",
    "clbench.strategies",
    {
        "naive": ("clbench.strategies.baselines:naive", "plain training on the stream as it comes; the lower bound"),
        "group_mask": (
            "clbench.strategies.group_mask:GroupMask",
            "only the classes of the minibatch compete in the loss",
        ),
        "joint": ("clbench.strategies.baselines:joint", "all rows of the stream at once; the usual upper bound"),
        "cumulative": ("clbench.strategies.baselines:cumulative", "all rows so far, experience after experience"),
        "frozen": ("clbench.strategies.baselines:Frozen", "nothing is learned after the first experience; a control"),
        "er": ("clbench.strategies.replay:er", "experience replay: rows of memory beside the stream's"),
        "er_ace": ("clbench.strategies.er_ace:er_ace", "replay with an asymmetric cross-entropy"),
        "er_aml": ("clbench.strategies.er_aml:AsymmetricMetric", "replay with an asymmetric metric loss on features"),
        "der": ("clbench.strategies.der:der", "rehearsed rows stay near the logits they had when they were kept"),
        "derpp": ("clbench.strategies.der:DarkExperience", "der, and rehearsed rows are learned with their labels too"),
        "pcr": ("clbench.strategies.pcr:pcr", "replay that contrasts rows with the head's weights per class at hand"),
        "hpcr": ("clbench.strategies.hpcr:hpcr", "pcr with a temperature that swings and old scores distilled"),
        "view_batch": (
            "clbench.strategies.view_batch:ViewBatch",
            "fewer rows per batch in several views, so that more time lies between two visits of a row",
        ),
        "mir": ("clbench.strategies.mir:mir", "rehearse the rows whose loss the step to come would raise most"),
        "gdumb": ("clbench.strategies.gdumb:GDumb", "train from scratch on a balanced memory, and on nothing else"),
        "agem": ("clbench.strategies.agem:AGEM", "project the gradient so that memory's loss does not rise"),
        "gem": ("clbench.strategies.gem:GEM", "project the gradient so that no past experience's loss rises"),
        "refresh": ("clbench.strategies.refresh:Refresh", "unlearn a little before every step of another strategy"),
        "icarl": ("clbench.strategies.icarl:icarl", "nearest mean of herded exemplars, distilled sigmoid outputs"),
        "ncm": ("clbench.strategies.ncm:ncm", "nearest class mean, of pixels or of a frozen model's features"),
        "slda": ("clbench.strategies.slda:slda", "streaming linear discriminant analysis, likewise"),
        "hft": ("clbench.strategies.hft:HFT", "train a random half of the weights in every experience"),
        "fpf": ("clbench.strategies.fpf:fpf", "fine-tune a few modules on memory at the end of the stream"),
        "k_fpf": ("clbench.strategies.fpf:k_fpf", "plain training, and k times fine-tuning of a few modules on memory"),
        "sensitivity": (
            "clbench.strategies.weight_change:Sensitivity",
            "plain training; records how much each module changes",
        ),
        "ewc": ("clbench.strategies.ewc:EWC", "stay near old weights where the Fisher information is large"),
        "l2": ("clbench.strategies.l2:L2", "stay near the weights of the last boundary"),
        "si": ("clbench.strategies.si:SI", "stay near old weights where moving them has lowered the loss"),
        "mas": ("clbench.strategies.mas:MAS", "stay near old weights where the output is sensitive to them"),
        "lwf": ("clbench.strategies.lwf:LwF", "distil the last boundary's softmax on new rows"),
        "pred_kd": ("clbench.strategies.pred_kd:PredKD", "a sigmoid per class, old ones taught by the old model"),
        "feat_kd": ("clbench.strategies.feat_kd:FeatKD", "keep features near those of the last boundary's model"),
        "freeze_norm": (
            "clbench.strategies.freeze_norm:FreezeNorm",
            "batch statistics held still after the first experience",
        ),
    },
    {
        "avalanche": (
            "clbench.adapters.avalanche.avalanche_recipes:recipe",
            "NAME",
            "a template or plugin of avalanche-lib, in its own loop: avalanche:Replay(mem_size=500)",
        ),
        "sklearn": (
            "clbench.adapters.sklearn.estimators:recipe",
            "NAME",
            "an estimator with partial_fit: sklearn:SGDClassifier(loss=log_loss)",
        ),
        "observe": (
            "clbench.adapters.one_method_learner:recipe",
            "FILE.py:NAME",
            "a class of yours with observe(x, y): observe:FILE.py:NAME(alpha=0.5)",
        ),
    },
)
