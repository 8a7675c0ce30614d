"""A report as one HTML file: scripts, styles and data are in it, and it needs no network."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from whence.errors import UnsupportedError
from whence.reporting.blocks import Chart, Facts, Picture, Section, Table, Text

_NEEDED = ("jinja2", "plotly", "itables")
_KINDS = {Text: "text", Facts: "facts", Table: "table", Chart: "chart", Picture: "picture"}


def render(
    title: str,
    sections: Sequence[Section],
    *,
    notes: Sequence[str] = (),
    about: str = "",
    **more: Any,
) -> str:
    """Return the page of a report.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    notes : sequence of str
        What had to be left out.
    about : str
        Who made it, below.
    **more
        For the template of a served report.

    Raises
    ------
    UnsupportedError
        If a package that it needs is not installed.
    """
    check_installed()
    page: str = _environment().get_template("page.html").render(
        title=title, sections=sections, notes=notes, about=about, scripts=scripts(),
        style=own_file("style.css"), script=own_file("page.js"), **more,
    )  # fmt: skip
    return page


def fragment(blocks: Sequence[Any], prefix: str) -> str:
    """Return blocks as a piece of a page; `prefix` sets its ids apart."""
    text: str = _environment().get_template("fragment.html").render(blocks=blocks, prefix=prefix)
    return text


def panel(**about: Any) -> str:
    """Return the part of a served page where questions are asked."""
    text: str = _environment().get_template("explore.html").render(**about)
    return text


def check_installed(needed: Sequence[str] = _NEEDED) -> None:
    """Refuse to begin without the packages of reports.

    Raises
    ------
    UnsupportedError
        If one is not installed.
    """
    from importlib.util import find_spec

    for package in needed:
        if find_spec(package) is None:
            raise UnsupportedError(
                f"Reports need {package}, which is not installed; install it with "
                "pip install 'whence[report]'."
            )


@cache
def scripts() -> Mapping[str, str]:
    """Return the scripts of charts and of tables: compressed, as base64, by name; and a style."""
    plotly = _file("plotly", "package_data/plotly.min.js")
    tables = _file("itables", "html/dt_bundle.js")
    return {
        "charts": _packed(plotly),
        "tables": _packed(tables),
        "tables_style": _file("itables", "html/dt_bundle.css").decode("utf-8"),
    }


def _packed(script: bytes) -> str:
    return base64.b64encode(gzip.compress(script, 9, mtime=0)).decode("ascii")


def _file(package: str, name: str) -> bytes:
    import importlib.util

    # Found without importing the package, which takes a second.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError(
            f"Reports need {package}; install it with pip install 'whence[report]'."
        )
    from pathlib import Path

    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise UnsupportedError(
            f"This version of {package} has no {name}; install one that constraints.txt names."
        )
    return path.read_bytes()


@cache
def own_file(name: str) -> str:
    """Return a file of the templates."""
    return (resources.files("whence.reporting") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("whence.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: _KINDS[type(block)]
    return environment
