"""Register the commands by name. They import what they need when they run, so that ``clbench --help`` is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from clbench.cli.ablate_command import ablate
from clbench.cli.boards import board, plot
from clbench.cli.check import check
from clbench.cli.convert_command import convert
from clbench.cli.diff_command import diff
from clbench.cli.doctor import doctor
from clbench.cli.examples import Exemplified, ExemplifiedGroup, examples
from clbench.cli.export_command import export
from clbench.cli.forget_command import forget
from clbench.cli.listing import list_names
from clbench.cli.merge_command import merge
from clbench.cli.new import new
from clbench.cli.path_command import path
from clbench.cli.quickstart_command import quickstart
from clbench.cli.run import Spelled, run
from clbench.cli.sensitivity_command import sensitivity
from clbench.cli.show import show
from clbench.cli.site_command import site
from clbench.cli.status_command import status
from clbench.cli.submit_command import submit
from clbench.cli.tune_command import tune
from clbench.cli.uses import show_uses
from clbench.cli.verify_command import verify

app = typer.Typer(
    name="clbench",
    cls=ExemplifiedGroup,
    help="Continual-learning benchmarks with evaluation after every iteration.",
    epilog=examples(
        "clbench quickstart mine  # a benchmark file and a method to begin with",
        "clbench run split-digits --jobs 2  # a benchmark that needs no download",
    ),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(
    "quickstart",
    cls=Exemplified,
    epilog=examples(
        "clbench quickstart mine  # in the new folder mine",
        "clbench quickstart  # in this folder, if it is empty",
    ),
)(quickstart)
app.command(
    "run",
    cls=Spelled,
    epilog=examples(
        "clbench run split-digits --strategies 'er, er + ewc(strength=10)' --seeds 10",
        "clbench run split-mnist --data-dir ~/data --set training.lr=0.001 --dry-run",
    ),
)(run)
app.command(
    "list",
    cls=Exemplified,
    epilog=examples(
        "clbench list strategies  # all methods with their parameters and defaults",
        "clbench list benchmarks  # the benchmarks that come with clbench",
    ),
)(list_names)
app.command(
    "show",
    cls=Exemplified,
    epilog=examples(
        "clbench show ewc  # parameters, formula and source of a method",
        "clbench show results/split-digits 3f2a  # the run whose key begins with 3f2a",
    ),
)(show)
app.command(
    "board",
    cls=Exemplified,
    epilog=examples(
        "clbench board results/split-digits --metrics acc,wc_acc,forgetting --pairs  # with p values of differences",
        "clbench board results/split-digits --rename 'er_ace=ER-ACE' -o table.tex  # for a paper",
    ),
)(board)
app.command(
    "diff",
    cls=Exemplified,
    epilog=examples(
        "clbench diff results/before results/after  # has a new version changed any result?",
        "clbench diff results/mine results/theirs --json  # for a program",
    ),
)(diff)
app.command(
    "convert",
    cls=Exemplified,
    epilog=examples(
        "clbench convert core50 data/core50 --protocol ni  # eight experiences, one test set",
        "clbench convert core50 data/core50 --protocol nicv2_391 --run 3 -o nic.csv",
    ),
)(convert)
app.command(
    "merge",
    cls=Exemplified,
    epilog=examples(
        "clbench merge results/node1 results/node2 -o results/all",
        "clbench merge mine theirs -o all --snapshots  # with what is unfinished",
    ),
)(merge)
app.command(
    "status",
    cls=Exemplified,
    epilog=examples(
        "clbench status results/split-digits  # what is done, what runs where, what failed",
        "clbench status results/split-digits --json  # for programs",
    ),
)(status)
app.command(
    "forget",
    cls=Exemplified,
    epilog=examples(
        "clbench forget results/split-digits --failed  # failed cells; asks first",
        "clbench forget results/split-digits --older --yes  # your methods as they were before their last edit",
    ),
)(forget)
app.command(
    "submit",
    cls=Exemplified,
    epilog=examples(
        "clbench submit results -o bundle.zip --contact ada@example.org --licence MIT",
        "clbench submit a b -o ab.zip --contact https://example.org --licence CC0-1.0",
    ),
)(submit)
app.command(
    "plot",
    cls=Exemplified,
    epilog=examples(
        "clbench plot results/split-digits -o gap.pdf  # the stability gap",
        "clbench plot results/split-digits -o gap.pdf --width 3.3 --no-title  # for a column",
    ),
)(plot)
app.command(
    "path",
    cls=Exemplified,
    epilog=examples(
        "clbench path results/split-digits  # how high are the barriers between ends?",
        "clbench path results/split-digits --strategies naive,er -o path.pdf",
    ),
)(path)
app.command(
    "site",
    cls=Exemplified,
    epilog=examples(
        "clbench site results/split-digits -o site  # then open site/index.html",
        "clbench site results/* -o site --title 'Our results'  # all result folders below results",
    ),
)(site)
app.command(
    "verify",
    cls=Exemplified,
    epilog=examples(
        "clbench verify results/split-digits  # do records agree with themselves?",
        "clbench verify bundle.zip --rerun 3 --fresh 3 -o verification.json",
    ),
)(verify)
app.command(
    "sensitivity",
    cls=Exemplified,
    epilog=examples(
        "clbench sensitivity split-digits --strategies 'naive, er' --seeds 3",
        "clbench sensitivity split-digits --set training.epochs=3 -o change.png",
    ),
)(sensitivity)
app.command(
    "ablate",
    cls=Exemplified,
    epilog=examples(
        "clbench ablate er_ace --against er split-digits  # is it the mask, or the sum of two losses?",
        "clbench ablate mine --against er --plugin mine.py --seeds 5 -o ablation.md  # your own method",
    ),
)(ablate)
app.command(
    "tune",
    cls=Exemplified,
    epilog=examples(
        "clbench tune split-digits --strategies ewc --protocol first:2  # its strength",
        "clbench tune split-digits --strategies er --space training.lr=1e-3:0.1:log",
    ),
)(tune)
app.command(
    "check",
    cls=Exemplified,
    epilog=examples(
        "clbench check 'er + ewc(strength=1)'  # the contract of a strategy",
        "clbench check mine.py:MyNet --dataset digits  # the contract of your network",
    ),
)(check)
app.command(
    "export",
    cls=Exemplified,
    epilog=examples(
        "clbench export results/split-digits er --seed 0 -o model.pt  # --save-model ran",
        "clbench export results/split-digits 3f2a -o model.onnx  # for onnxruntime",
    ),
)(export)
app.add_typer(new, name="new")
app.command(
    "doctor",
    cls=Exemplified,
    epilog=examples(
        "clbench doctor  # is everything there that a run needs?",
        "clbench doctor --data-dir ~/data  # look for data sets in this folder",
    ),
)(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from clbench import __version__

        typer.echo(f"clbench {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 its callback has shown it
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Continual-learning benchmarks with evaluation after every iteration."""
    if context.invoked_subcommand is None:
        show_uses()
