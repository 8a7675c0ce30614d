"""The command line: parse, call the library, print."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from whence.cli._terminal import complain
from whence.cli.demo import demo_command
from whence.cli.disclose import disclose_command
from whence.cli.evaluate import evaluate_command
from whence.cli.experiment import experiment_app
from whence.cli.explain import explain_command
from whence.cli.prune import prune_command
from whence.cli.recommend import recommend_command
from whence.cli.trace import trace_command
from whence.cli.train import train_command
from whence.cli.tune import tune_command
from whence.cli.value import value_command
from whence.cli.warm_up import warm_up_command
from whence.errors import WhenceError, WhenceWarning

BAD_INPUT, INTERRUPTED = 2, 130


class _Commands(TyperGroup):
    """Commands whose errors are told in one sentence, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", WhenceWarning)
                warnings.showwarning = _note
                return super().invoke(ctx)
        except WhenceError as error:
            complain(f"Error: {error}")
            raise typer.Exit(BAD_INPUT) from None
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            complain(
                "Error: This command needs torch, which is not installed; install it with "
                "pip install 'whence[torch]'."
            )
            raise typer.Exit(BAD_INPUT) from None
        except BrokenPipeError:  # the reader, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            complain(f"Error: {error.filename or 'a file'}: {error.strerror or error}.")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            complain("Interrupted; nothing was written.")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="whence",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Where a recommender's behaviour comes from. Train and evaluate it (train, tune, "
    "recommend, evaluate); value its training data and prune (value, prune); trace a prediction "
    "to those who taught it (trace); explain a recommendation by the history (explain); decide "
    "what users withhold (disclose); and check each of these (experiment).",
    epilog="Start with: whence demo",
)
app.command("demo")(demo_command)
app.command("train")(train_command)
app.command("tune")(tune_command)
app.command("recommend")(recommend_command)
app.command("evaluate")(evaluate_command)
app.command("value")(value_command)
app.command("prune")(prune_command)
app.command("disclose")(disclose_command)
app.command("trace")(trace_command)
app.command("explain")(explain_command)
app.command("warm-up")(warm_up_command)
app.add_typer(experiment_app, name="experiment")


def main() -> None:
    """Run the command line."""
    app()


def _version(asked: bool) -> None:
    if asked:
        from whence import __version__

        typer.echo(f"whence {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, WhenceWarning):
        complain(f"Note: {message}")
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, file=file or sys.stderr, end="")
