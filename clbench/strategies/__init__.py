"""The registry of strategies: a name stands for a part or for a function that returns parts. Adapters find learners of
other libraries. This module imports no torch."""

from __future__ import annotations

from clbench.core.registry import Registry

STRATEGIES = Registry(
    "strategy",
    "clbench.strategies",
    {
        "naive": ("clbench.strategies.baselines:naive", "plain training on the stream; the lower bound"),
        "group_mask": (
            "clbench.strategies.group_mask:GroupMask",
            "only the classes of the minibatch compete in the loss",
        ),
        "loss_form": (
            "clbench.strategies.loss_form:LossForm",
            "other weights of the sources and other competing classes in the loss; a control",
        ),
        "joint": ("clbench.strategies.baselines:joint", "training on all samples at once; the usual upper bound"),
        "cumulative": (
            "clbench.strategies.baselines:cumulative",
            "training on all samples so far, experience after experience",
        ),
        "frozen": ("clbench.strategies.baselines:Frozen", "no training after the first experience; a control"),
        "er": ("clbench.strategies.replay:er", "experience replay: batches of stream samples and replayed samples"),
        "er_ace": ("clbench.strategies.er_ace:er_ace", "replay with an asymmetric cross-entropy"),
        "er_aml": ("clbench.strategies.er_aml:AsymmetricMetric", "replay with an asymmetric metric loss on features"),
        "der": ("clbench.strategies.der:der", "replay that matches the logits stored with each sample"),
        "derpp": ("clbench.strategies.der:DarkExperience", "der plus replay with labels (DER++)"),
        "pcr": ("clbench.strategies.pcr:pcr", "replay that contrasts samples with the head's weights per class"),
        "hpcr": ("clbench.strategies.hpcr:hpcr", "pcr with an oscillating temperature and distillation of old scores"),
        "view_batch": (
            "clbench.strategies.view_batch:ViewBatch",
            "fewer samples per batch in several views, with more steps between two visits of a sample",
        ),
        "repeats": (
            "clbench.strategies.repeats:Repeats",
            "several updates on each batch, always or from a plateau of the fraction of active units",
        ),
        "mir": ("clbench.strategies.mir:mir", "replay the samples whose loss the next step would increase most"),
        "gdumb": ("clbench.strategies.gdumb:GDumb", "train from scratch on a balanced replay buffer only"),
        "agem": (
            "clbench.strategies.agem:AGEM",
            "project the gradient so that the loss on the replay buffer does not increase",
        ),
        "gem": ("clbench.strategies.gem:GEM", "project the gradient so that the loss on no past experience increases"),
        "gpm": (
            "clbench.strategies.gpm:GPM",
            "project the gradient of each layer so that its outputs for old inputs do not change",
        ),
        "trgp": (
            "clbench.strategies.trgp:TRGP",
            "project gradients away from the inputs of past tasks, and scale old weights anew for each task",
        ),
        "cuber": (
            "clbench.strategies.cuber:CUBER",
            "trgp that also trains the weights of related past tasks whose gradients agree",
        ),
        "refresh": ("clbench.strategies.refresh:Refresh", "unlearn slightly before every step of another strategy"),
        "icarl": ("clbench.strategies.icarl:icarl", "nearest mean of herded exemplars, with distilled sigmoid outputs"),
        "bic": (
            "clbench.strategies.bic:bic",
            "herded exemplars, distillation weighted by the share of old classes, and bias correction on held-out ones",
        ),
        "expand": (
            "clbench.strategies.expand:expand",
            "a new backbone for each experience with one head on the features of all, and herded exemplars (DER)",
        ),
        "wa": (
            "clbench.strategies.wa:wa",
            "herded exemplars, distillation weighted by the share of old classes, and weight alignment",
        ),
        "align_norms": (
            "clbench.strategies.align_norms:AlignNorms",
            "give new classes the mean norm of old ones in the head, at the end of each experience",
        ),
        "ncm": ("clbench.strategies.ncm:ncm", "nearest class mean, of pixels or of a frozen model's features"),
        "slda": (
            "clbench.strategies.slda:slda",
            "streaming linear discriminant analysis, of pixels or of a frozen model's features",
        ),
        "acil": (
            "clbench.strategies.acil:acil",
            "exact ridge regression on random features of pixels or of a frozen model's features",
        ),
        "ranpac": (
            "clbench.strategies.ranpac:ranpac",
            "ridge regression on random projections of a frozen model's features, with a ridge chosen at each task",
        ),
        "fecam": (
            "clbench.strategies.fecam:fecam",
            "nearest class mean by a Mahalanobis distance for each class, of a frozen model's features",
        ),
        "hft": ("clbench.strategies.hft:HFT", "train a random half of the weights in every experience"),
        "only": (
            "clbench.strategies.only:Only",
            "train norms, biases and head, or other modules, and freeze the rest of the model; a control",
        ),
        "fpf": ("clbench.strategies.fpf:fpf", "fine-tune a few modules on the replay buffer at the end of the stream"),
        "k_fpf": (
            "clbench.strategies.fpf:k_fpf",
            "plain training, with fine-tuning of a few modules on the replay buffer k times",
        ),
        "sensitivity": (
            "clbench.strategies.weight_change:Sensitivity",
            "plain training; records how much each module changes",
        ),
        "clr": (
            "clbench.strategies.clr:CLR",
            "a frozen network with kernels for each channel, norm layers and a head per task",
        ),
        "hypernet": (
            "clbench.strategies.hypernet:Hypernet",
            "another network generates the weights for each task, and keeps those of earlier tasks",
        ),
        "l2m": (
            "clbench.strategies.l2m:L2M",
            "a frozen network with low-rank additions, chosen for each sample from a pool by the nearest key",
        ),
        "l2p": (
            "clbench.strategies.l2p:L2P",
            "a frozen transformer with prompts from a pool, chosen for each sample by the nearest keys",
        ),
        "dualprompt": (
            "clbench.strategies.dualprompt:DualPrompt",
            "a frozen transformer with general prefixes and one for each experience, chosen by the nearest key",
        ),
        "coda_prompt": (
            "clbench.strategies.coda_prompt:CODAPrompt",
            "a frozen transformer with prefixes that are sums of components, weighted for each sample",
        ),
        "binary": (
            "clbench.strategies.binary:binary",
            "weights of plus and minus 1, each with a learned distribution that stays near that of old tasks",
        ),
        "dst": (
            "clbench.strategies.dst:DST",
            "a sparse part of one network for each task, rewired while it learns",
        ),
        "ewc": ("clbench.strategies.ewc:EWC", "stay near old weights where the Fisher information is large"),
        "l2": ("clbench.strategies.l2:L2", "stay near the weights of the last boundary"),
        "si": ("clbench.strategies.si:SI", "stay near old weights where moving them has lowered the loss"),
        "first_task": (
            "clbench.strategies.first_task:FirstTask",
            "adapt a pretrained network to the first experience alone, then classify by class means (APER)",
        ),
        "lucir": (
            "clbench.strategies.lucir:lucir",
            "rehearse exemplars with a cosine head; features keep their direction, old classes rank above new ones",
        ),
        "podnet": (
            "clbench.strategies.podnet:podnet",
            "rehearse exemplars with several proxies for each class; pooled maps of all stages stay near old ones",
        ),
        "adapters": (
            "clbench.strategies.adapters:Adapters",
            "a frozen transformer with a small trained network beside that of each block",
        ),
        "align": (
            "clbench.strategies.align:Align",
            "train a copy of the head on features drawn from a Gaussian of each class; added to any other strategy",
        ),
        "slca": (
            "clbench.strategies.slca:slca",
            "a slow body, cross-entropy over the running classes, and classifier alignment",
        ),
        "inflora": (
            "clbench.strategies.inflora:InfLoRA",
            "low-rank terms beside a frozen transformer, outside of the inputs of earlier experiences",
        ),
        "sd_lora": (
            "clbench.strategies.sd_lora:SDLoRA",
            "low-rank terms for each experience beside a frozen transformer; their magnitudes go on being trained",
        ),
        "merge": (
            "clbench.strategies.merge:Merge",
            "answer with a merger of the changes that experiences made to the weights",
        ),
        "mas": ("clbench.strategies.mas:MAS", "stay near old weights where the output is sensitive to them"),
        "consolidation": (
            "clbench.strategies.consolidation:Consolidation",
            "a strength for every weight, by Fisher information; the strongest weights are frozen",
        ),
        "lwf": ("clbench.strategies.lwf:LwF", "distil the softmax of the last boundary's model on new samples"),
        "pred_kd": (
            "clbench.strategies.pred_kd:PredKD",
            "a sigmoid per class; the old model gives the targets of old classes",
        ),
        "feat_kd": ("clbench.strategies.feat_kd:FeatKD", "keep features near those of the last boundary's model"),
        "freeze_norm": (
            "clbench.strategies.freeze_norm:FreezeNorm",
            "freeze batch statistics after the first experience",
        ),
    },
    {
        "avalanche": (
            "clbench.adapters.avalanche.avalanche_recipes:recipe",
            "NAME",
            "a template or plugin of avalanche-lib, in its own training loop: avalanche:Replay(mem_size=500)",
        ),
        "sklearn": (
            "clbench.adapters.sklearn.estimators:recipe",
            "NAME",
            "an estimator with partial_fit: sklearn:SGDClassifier(loss=log_loss)",
        ),
        "observe": (
            "clbench.adapters.one_method_learner:recipe",
            "FILE.py:NAME",
            "your own class with observe(x, y): observe:FILE.py:NAME(alpha=0.5)",
        ),
    },
)
