"""Another model, scenario or data set replaces the settings of the one in the file that do not fit it, and says so."""

from __future__ import annotations

import warnings

import pytest

from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.running.plan import plan

MINE = {
    "name": "mine",
    "stream": {"scenario": "split", "experiences": 3, "order": "fixed", "dataset": "digits"},
    "model": {"name": "mlp", "hidden": [7], "heads": "shared"},
}


def planned(*assignments, document=MINE):
    return plan(document, overrides=assignments, seeds=1).cells[0].config


def test_settings_of_another_model_are_left_out_and_one_notice_tells_which():
    with pytest.warns(Notice, match=r"^model.name=cnn: left out are settings of mlp that do not fit it: hidden=\[7\]$"):
        model = planned("model.name=cnn")["model"]
    assert model == {"name": "cnn", "width": 32, "hidden": 128, "norm": "group", "heads": "shared"}


def test_settings_that_fit_stay_and_so_do_those_that_were_assigned():
    cnn = {**MINE, "model": {"name": "cnn", "width": 5, "norm": "none"}}
    with pytest.warns(Notice, match="norm=none$"):
        assert planned("model.name=resnet", document=cnn)["model"]["width"] == 5
    with pytest.raises(Refused, match="'hiden'; did you mean 'hidden'"):
        planned("model.name=cnn", "model.hiden=4", document={**MINE, "model": {"name": "mlp"}})
    with pytest.raises(Refused, match=r"hidden = .* is not allowed"):
        planned("model.name=cnn", "model.hidden=[4]")


def test_settings_of_another_scenario_are_left_out():
    with pytest.warns(Notice, match="^stream.scenario=permuted: left out are settings of split .*: order=fixed$"):
        stream = planned("stream.scenario=permuted")["stream"]
    assert stream["experiences"] == 3


def test_settings_of_another_data_set_are_left_out():
    document = {
        **MINE,
        "stream": {**MINE["stream"], "dataset": {"name": "csv:a.csv", "label": "kind", "validation": 0.1}},
    }
    with pytest.warns(Notice, match=r"^stream.dataset.name=digits: left out are settings of csv:a.csv .*: label=kind$"):
        dataset = planned("stream.dataset.name=digits", document=document)["stream"]["dataset"]
    assert (dataset["validation"], "label" in dataset) == (0.1, False)


def test_nothing_is_left_out_where_the_name_stays_or_the_whole_section_is_assigned():
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert planned("model.name=mlp")["model"]["hidden"] == (7,)
        assert planned("model={name: cnn, width: 3}")["model"]["width"] == 3
        assert planned("stream.dataset=digits")["stream"]["dataset"]["name"] == "digits"
    with pytest.raises(Refused, match="no model called 'cn'"):
        planned("model.name=cn")
