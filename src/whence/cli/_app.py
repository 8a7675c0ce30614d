"""The commands, and how what goes wrong in them is told: in one sentence, without a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from whence.cli._commands import Commands, UsageError
from whence.cli._terminal import complain, terminal
from whence.errors import WhenceError, WhenceWarning, within_memory

BAD_INPUT, INTERRUPTED = 2, 130


class _Main(Commands):
    homes = {  # noqa: RUF012 (a class is never changed)
        "demo": "whence.cli.demo:demo",
        "generate": "whence.cli.generate:generate",
        "train": "whence.cli.train:train",
        "tune": "whence.cli.tune:tune",
        "recommend": "whence.cli.recommend:recommend",
        "evaluate": "whence.cli.evaluate:evaluate",
        "value": "whence.cli.value:value",
        "prune": "whence.cli.prune:prune",
        "clean": "whence.cli.clean:clean",
        "sustainability": "whence.cli.sustainability:sustainability",
        "disclose": "whence.cli.disclose:disclose",
        "forget": "whence.cli.forget:forget",
        "trace": "whence.cli.trace:trace",
        "explain": "whence.cli.explain:explain",
        "experiment": "whence.cli.experiment:experiment_app",
        "report": "whence.cli.report:report",
        "explore": "whence.cli.explore:explore",
    }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the arguments, for the command that goes on after an interruption."""
        terminal.arguments = list(args)
        left: list[str] = super().parse_args(ctx, args)
        return left

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is called."""
        try:
            with warnings.catch_warnings(), _interruptible(), within_memory():
                warnings.simplefilter("always", WhenceWarning)
                warnings.showwarning = terminal.warned
                return super().invoke(ctx)
        except WhenceError as error:
            complain(f"Error: {terminal.wording.spoken(str(error))}")
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            said = error.format_message().rstrip(".?!") + "."  # type: ignore[attr-defined]
            where = error.ctx.command_path if error.ctx else "whence"  # type: ignore[attr-defined]
            complain(f"Error: {' '.join(said.split())} See {where} --help.")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            complain(
                "Error: This command needs torch, which is not installed; install it with "
                "pip install 'whence[torch]'."
            )
        except BrokenPipeError:  # the reader, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            complain(f"Error: {error.filename or 'a file'}: {error.strerror or error}.")
        except KeyboardInterrupt:
            complain("Interrupted; nothing was written.")
            raise typer.Exit(INTERRUPTED) from None
        raise typer.Exit(BAD_INPUT)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be an interruption whatever it comes out as, as imports make it other errors."""
    asked = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if asked:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


app = typer.Typer(
    name="whence",
    cls=_Main,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Where a recommender's behaviour comes from. Train and evaluate it (train, tune, "
    "recommend, evaluate); value its training data and prune (value, prune); trace a prediction "
    "to those who taught it (trace); explain a recommendation by the history (explain); decide "
    "what users withhold (disclose); check each of these (experiment); and hand on what was found "
    "(report, explore).",
    epilog="Start with: whence demo",
)


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
