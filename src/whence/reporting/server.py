"""`explore`: a report that answers questions, served to this machine alone."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whence.errors import ConfigError, check_int, check_path
from whence.reporting.explorer import Explorer
from whence.reporting.folders import Folder, read_folders
from whence.reporting.page import check_installed, fragment, own_file, panel, render
from whence.reporting.reports import contents

HOST = "127.0.0.1"
_QUESTIONS = ("remove", "why", "why-not", "forget")
_LONGEST = 100_000
_HOSTS = (HOST, "localhost")


def explore(
    folder: str | Path,
    *,
    port: int = 0,
    token: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the report of a folder, with a model that can be asked, until it is interrupted.

    Beyond the report, one can remove users or sessions and see the metric and the lists change, ask
    why somebody was recommended something and why not something else, and what forgetting somebody
    does. Nothing of it changes the folder. Only this machine is served, and only who has the
    address, of which a secret word is a part.

    Parameters
    ----------
    folder : path
        That ``whence train``, ``forget``, ``value`` or ``demo`` wrote.
    port : int, default 0
        To serve at; any that is free if 0.
    token : str, optional
        The secret word; a new one by default.
    ready : callable
        Called with the address once it is served.

    Raises
    ------
    ConfigError
        If there is no model to be asked, or the port is in use.
    FileFormatError
        If the results are unfinished or damaged.
    UnsupportedError
        If a package of the extra ``report`` is not installed.
    """
    check_installed(("jinja2", "plotly", "itables", "starlette", "uvicorn"))
    check_int("port", port, 0, 65_535)
    bound = _bound(port)
    with bound:
        token = token or secrets.token_urlsafe(16)
        app = application(read_one(folder), token)
        import uvicorn

        number = bound.getsockname()[1]
        settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        ready(f"http://{HOST}:{number}/{token}/")
        uvicorn.Server(settings).run(sockets=[bound])


def read_one(folder: str | Path) -> Folder:
    """Read a folder of results.

    Raises
    ------
    ConfigError
        If it holds none, or is a folder of such folders.
    """
    found = read_folders([check_path("folder", folder)])
    if len(found) != 1:
        names = ", ".join(one.name for one in found)
        raise ConfigError(f"{folder} holds several folders of results ({names}); give one of them.")
    return found[0]


def application(folder: Folder, token: str) -> Any:
    """Return the ASGI application that serves a folder under ``/token/``.

    Parameters
    ----------
    folder : Folder
    token : str
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    explorer = Explorer(folder)
    page = render(
        folder.name,
        **contents([folder]),
        connect="'self'",
        panel=panel(noun=explorer.noun, metric=explorer.metric.name, examples=explorer.examples,
                    set=explorer.set, queries=len(explorer.asked)),
        extra=own_file("explore.js"),
    )  # fmt: skip
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
               "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}  # fmt: skip
    asked = [0]

    def is_known(request: Any) -> bool:
        return secrets.compare_digest(request.path_params["token"].encode(), token.encode())

    async def show(request: Any) -> Response:
        if not is_known(request):
            return Response(status_code=404)
        return HTMLResponse(page, headers=headers)

    async def answer(request: Any) -> Response:
        question = request.path_params["question"]
        if not is_known(request) or question not in _QUESTIONS:
            return Response(status_code=404)
        body = await request.body()
        try:
            given = {} if len(body) > _LONGEST else await request.json()
        except ValueError:
            given = {}
        names = {"remove": ("sources",), "why": ("who",), "why-not": ("who", "item"),
                 "forget": ("who",)}[question]  # fmt: skip
        words = (
            {name: str(given.get(name, "")) for name in names} if isinstance(given, dict) else {}
        )
        blocks = await run_in_threadpool(explorer.ask, question, **words)
        asked[0] += 1
        return HTMLResponse(fragment(blocks, f"answer-{asked[0]}"), headers=headers)

    return Starlette(
        routes=[
            Route("/{token}/", show),
            Route("/{token}/{question}", answer, methods=["POST"]),
        ],
        # Another site's page cannot reach it under a name of its own.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS))],
    )


def _bound(port: int) -> socket.socket:
    """A socket of this machine alone.

    Raises
    ------
    ConfigError
        If the port is in use.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"Port {port} cannot be served at, as it is in use or not allowed; choose another with "
            "port=, or leave it out for one that is free."
        ) from error
    return bound
