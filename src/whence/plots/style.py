"""The visual language: colours that everybody can tell apart, little ink, no global state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

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
ON_PALE, ON_STRONG = "#23272C", "#FEFEFE"
"""Ink on a colour that is pale, or strong, whatever the paper."""
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


_DARK = {
    "#22262b": "#E8EAED",  # ink
    "#ffffff": "#16191D",  # paper
    "#e4e6ea": "#32373E",  # grid
    "#0072b2": "#4BA3DB",  # blue, vermilion and green, lighter
    "#d55e00": "#F0803C",
    "#009e73": "#2FC79B",
    "#000000": "#E8EAED",
}


def dark(figure: Figure) -> Figure:
    """Turn a picture that was drawn into one on dark paper, with the same meaning of colours.

    Parameters
    ----------
    figure : matplotlib Figure

    Returns
    -------
    Figure
        The same.
    """
    figure.set_facecolor(_DARK["#ffffff"])
    for artist in figure.findobj():
        for kind in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, change = (getattr(artist, f"{verb}_{kind}", None) for verb in ("get", "set"))
            if get is None or change is None or isinstance(artist, (QuadMesh, AxesImage)):
                continue
            found = _darker(get())
            if found is not None:
                change(found)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_tick_params(color=GREY, labelcolor=_DARK["#22262b"])
            axis.get_offset_text().set_color(_DARK["#22262b"])
    return figure


def _darker(colours: Any) -> Any:
    """The same colours on dark paper; None where nothing changes."""
    try:
        rows = to_rgba_array(colours)
    except (ValueError, TypeError):
        return None
    names = [to_hex(row) for row in rows]
    if not any(name in _DARK for name in names):
        return None
    changed = [(*to_rgb(_DARK.get(name, name)), row[3]) for name, row in zip(names, rows)]
    return changed[0] if len(changed) == 1 else changed


def say_within(ax: Axes, sentence: str) -> None:
    """Write a sentence into axes that have nothing to show."""
    ax.annotate(
        sentence, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=INK,
        bbox={"facecolor": "white", "edgecolor": GREY, "boxstyle": "round,pad=0.6"}, wrap=True,
    )  # fmt: skip


@contextmanager
def picture(path: str | Path, *, overwrite: bool = False, on_dark: bool = False) -> Iterator[Axes]:
    """Give new axes and write them to a picture file when the block ends well.

    The figure is unknown to pyplot, so nothing has to be closed.

    Parameters
    ----------
    path : str or Path
        Where to write; the ending (``.png``, ``.svg``, ``.pdf``) says how.
    overwrite : bool, default False
        Whether a picture that is there may be replaced.
    on_dark : bool, default False
        Whether the paper is dark.

    Raises
    ------
    OutputExistsError
        If the file is there and `overwrite` is false.
    """
    with rc_context(STYLE):
        figure = Figure(layout="constrained")
        yield figure.subplots()
        if on_dark:
            dark(figure)
        with atomic_path(path, overwrite=overwrite) as temporary:
            figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or "png")
