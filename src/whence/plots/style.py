"""The visual language: colours that everybody can tell apart, little ink, no global state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from whence.data.files import atomic_path
from whence.plots.words import families

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008): distinct for every kind of colour vision.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
)
GREY, INK = "#8A8F98", "#22262B"
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "figure.figsize": (7.0, 4.2),
    "grid.color": "#E4E6EA",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def axes(ax: Axes | None, texts: Iterable[object] = ()) -> Iterator[Axes]:
    """Give the axes to draw on, the caller's or new ones, with the style in force meanwhile.

    Parameters
    ----------
    ax : matplotlib Axes or None
    texts : iterable
        Titles of the caller's data that will be written; fonts are chosen that have their letters.
    """
    with rc_context({**STYLE, "font.family": families(texts)}):
        if ax is None:
            from matplotlib import pyplot  # only here: a new figure that a notebook will show

            _, ax = pyplot.subplots(layout="constrained")
        yield ax


def say_within(ax: Axes, sentence: str) -> None:
    """Write a sentence into axes that have nothing to show."""
    ax.annotate(
        sentence, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=INK,
        bbox={"facecolor": "white", "edgecolor": GREY, "boxstyle": "round,pad=0.6"}, wrap=True,
    )  # fmt: skip


@contextmanager
def picture(path: str | Path, *, overwrite: bool = False) -> Iterator[Axes]:
    """Give new axes and write them to a picture file when the block ends well.

    The figure is unknown to pyplot, so nothing has to be closed.

    Parameters
    ----------
    path : str or Path
        Where to write; the ending (``.png``, ``.svg``, ``.pdf``) says how.
    overwrite : bool, default False
        Whether a picture that is there may be replaced.

    Raises
    ------
    OutputExistsError
        If the file is there and `overwrite` is false.
    """
    with rc_context(STYLE):
        figure = Figure(layout="constrained")
        yield figure.subplots()
        with atomic_path(path, overwrite=overwrite) as temporary:
            figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or "png")
