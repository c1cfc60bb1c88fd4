"""Modes of modules are restored, also after an error, and only those of the modules that were named."""

from contextlib import suppress

from torch import nn

from clbench.models.module_modes import preserved_modes


def test_each_module_has_its_own_mode_again_also_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3)).train()
    model[1].eval()
    with suppress(ZeroDivisionError), preserved_modes(model.modules()):
        model.eval()
        model[1].train()
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == [True, True, False]


def test_a_child_that_was_not_named_keeps_the_mode_that_it_was_given():
    model = nn.Sequential(nn.Dropout()).train()
    with preserved_modes([model]):
        model.eval()
    assert [module.training for module in model.modules()] == [True, False]
