"""A connection to Ray: started or joined, asked, and left as if it had never been there."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import platform
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from whence._words import counted
from whence.engines._sending import pack
from whence.engines.threads import thread_count
from whence.errors import EngineError, ParameterError

ATTEMPTS = 3
"""How often a task is begun whose process or machine goes away."""
REACHING = 10.0
"""Seconds in which a cluster must answer."""
_ANSWERING = 120.0
"""Seconds in which a node must have started a process."""
_LOOKING = 10.0
"""Seconds between looks at whether there still is a node that can do the work."""
_PREFIX = "whence-ray-"
_LONGEST_FOLDER = 40
"""Names of sockets in it have a limit of about a hundred characters."""

# What Ray would say, send or open otherwise; what the caller has set stays.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": str(ATTEMPTS - 1),
}
# How HTTP/2 begins, by which Ray is spoken to, and the kind of what must come back.
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0" * 5
_SAME = ("Whence", "NumPy")


class Connection:
    """A connection to Ray.

    Parameters
    ----------
    address : str or None
        Of a cluster; None: Ray is started on this machine.

    Raises
    ------
    EngineError
        If there is no cluster, it does not answer, or its nodes have other versions.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._lasting: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._folder: Path | None = None
        self._spoke: Callable[..., None] | None = None
        with _as_before():
            self._ray: Any = importlib.import_module("ray")
            self._is_own = not self._ray.is_initialized()
            if self._is_own and address is None:
                self._start()
            elif self._is_own:
                self._join(address)
        try:
            self._check_versions()
            logging.getLogger("whence").info("Ray works on %s.", self.machines)
        except BaseException:
            self.close()
            raise

    @property
    def machines(self) -> str:
        """How many nodes and processors there are, in words."""
        sizes = self._nodes().values()
        return f"{counted(len(sizes), 'nodes')} with {counted(int(sum(sizes)), 'processors')}"

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return bool(self._ray.is_initialized())

    def close(self) -> None:
        """Stop what was started."""
        self._lasting.clear()
        if self._is_own:
            with suppress(Exception):  # what is left to be stopped has gone already
                self._ray.shutdown()
        if self._spoke is not None:
            self._ray._private.worker.print_to_stdstream = self._spoke
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # Work

    def places(self, threads: int | None) -> tuple[int, int]:
        """Threads of a task, and how many tasks there is room for.

        Parameters
        ----------
        threads : int or None
            Wanted. By default as many as the smallest node has processors, so that all can help.
        """
        sizes = [int(size) for size in self._nodes().values() if size >= 1]
        if not sizes:
            raise EngineError(
                "No node of the Ray cluster has a processor for work; start nodes with "
                "ray start --num-cpus=..."
            )
        threads = min(min(sizes) if threads is None else threads, max(sizes))
        return threads, sum(size // threads for size in sizes)

    def put(self, value: Any) -> Any:
        """Let the nodes have an object."""
        packed = pack(value)
        size = sum(len(one) for one in packed)
        with _in_words(f"The data of the work ({size / 1e6:,.0f} MB) cannot be put"):
            return self._ray.put(packed)

    def lasting(self, value: Any) -> Any:
        """Let the nodes have an object that never changes: once while it exists."""
        known = self._lasting.get(id(value))
        if known is None or known[0]() is not value:
            forget = partial(_forget, self._lasting, id(value))
            known = self._lasting[id(value)] = weakref.ref(value, forget), self.put(value)
        return known[1]

    def submit(self, threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of Whence where there is room; its future answer."""
        options = {"num_cpus": threads, "max_retries": ATTEMPTS - 1}
        task = self._ray.remote(**options)(_asked_elsewhere())
        place = function.__module__, function.__qualname__
        return task.remote(_versions(), place, *arguments)

    def get(self, answer: Any, what: str) -> Any:
        """Wait for an answer; `what` it is, for messages."""
        ray = self._ray
        with _in_words(f"{what} failed"):
            while True:
                done, _ = ray.wait([answer], timeout=_LOOKING)
                if done:
                    found = ray.get(answer)
                    if isinstance(found, str):
                        raise EngineError(found)
                    return found
                self.places(None)  # is there any node left?

    def cancel(self, answers: Sequence[Any]) -> None:
        """What has not been done is not wanted any more."""
        for answer in answers:
            with suppress(Exception):
                self._ray.cancel(answer)

    # Nodes

    def _nodes(self) -> dict[str, float]:
        """Processors of the nodes that are there, by their number."""
        with _in_words("The Ray cluster does not answer"):
            return {
                node["NodeID"]: float(node["Resources"].get("CPU", 0.0))
                for node in self._ray.nodes()
                if node["Alive"]
            }

    def _check_versions(self) -> None:
        ray = self._ray
        strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
        names = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}
        ask = ray.remote(num_cpus=0, max_retries=ATTEMPTS - 1)(_asked_elsewhere())
        answers = [
            ask.options(
                scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(one, soft=False)
            ).remote(_versions(), None)
            for one in names
        ]
        for name, answer in zip(names.values(), answers):
            with _in_words(f"Node {name} of the Ray cluster cannot work"):
                try:
                    said = ray.get(answer, timeout=_ANSWERING)
                except ray.exceptions.GetTimeoutError as error:
                    raise EngineError(
                        f"Node {name} of the Ray cluster has not started a process within "
                        f"{_ANSWERING:.0f} seconds; look at ray status."
                    ) from error
            if said is not None:
                raise EngineError(said)

    # Beginning

    def _start(self) -> None:
        """Start Ray on this machine, for this process alone, where only this machine reaches it."""
        ray_constants: Any = importlib.import_module("ray._private.ray_constants")
        _remove_what_is_left()
        self._folder = Path(_new_folder())
        token = {}
        if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
            token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        outside = ray_constants.ENABLE_RAY_CLUSTER
        ray_constants.ENABLE_RAY_CLUSTER = False  # the address of this machine is 127.0.0.1
        try:
            with _environment(token):
                _look_at_environment()
                self._init(
                    address="local",
                    num_cpus=thread_count(None),
                    include_dashboard=False,
                    _temp_dir=str(self._folder),
                )
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = outside

    def _join(self, address: str | None) -> None:
        assert address is not None
        if address != "auto":
            _check_reachable(address)
        self._init(address=address)

    def _init(self, **how: Any) -> None:
        worker = self._ray._private.worker
        self._spoke, worker.print_to_stdstream = worker.print_to_stdstream, _Said()
        log = logging.getLogger("ray")
        if log.level == logging.NOTSET:
            log.setLevel(logging.CRITICAL)
        try:
            self._ray.init(
                **how, log_to_driver=False, configure_logging=False, logging_level=logging.CRITICAL
            )
        except Exception as error:
            self.close()
            where = "on this machine" if self.address is None else f"at {self.address}"
            raise EngineError(f"Ray cannot be used {where}: {_first_sentence(error)}") from error


def _forget(known: dict[int, Any], number: int, _: weakref.ref[Any]) -> None:
    known.pop(number, None)


_lock = threading.Lock()
_connection: Connection | None = None


def connected(address: str | None) -> Connection:
    """The connection of this process to Ray; it is made where there is none.

    Parameters
    ----------
    address : str or None
        Of a cluster. By default what the variable RAY_ADDRESS names, else Ray on this machine.

    Raises
    ------
    EngineError
        If it cannot be made.
    ParameterError
        If the caller has connected this process to another cluster.
    """
    global _connection
    address = address or os.environ.get("RAY_ADDRESS") or None
    with _lock:
        if _connection is not None and not (_connection.is_open and _connection.address == address):
            _connection.close()
            _connection = None
        if _connection is None:
            ray = sys.modules.get("ray")
            if ray is not None and ray.is_initialized() and address not in (None, "auto"):
                there = ray.get_runtime_context().gcs_address
                if there != address:
                    raise ParameterError(
                        f"This process is connected to Ray at {there}, not at {address}; leave "
                        "the address out, or call ray.shutdown() first."
                    )
            _connection = Connection(address)
        return _connection


@atexit.register
def disconnect() -> None:
    """Stop Ray where Whence has started it, or leave the cluster that it has joined."""
    global _connection
    with _lock:
        if _connection is not None:
            _connection.close()
            _connection = None


# What is sent by value, as the node may have no Whence


def _versions() -> dict[str, str]:
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _SAME:
        found[name] = importlib.import_module(name.lower()).__version__
    return found


def _asked_elsewhere() -> Callable[..., Any]:
    """A function that calls another of Whence in a worker, or says why it cannot."""

    def ask(wanted: Mapping[str, str], place: tuple[str, str] | None, *arguments: Any) -> Any:
        import importlib
        import platform
        import socket

        name = socket.gethostname()
        for package, version in wanted.items():
            if package == "Python":
                found = ".".join(platform.python_version_tuple()[:2])
            else:
                try:
                    found = importlib.import_module(package.lower()).__version__
                except ImportError:
                    return f"Node {name} has no {package}; install whence[ray] on every node."
            if found != version:
                return (
                    f"Node {name} has {package} {found}, and this one {version}; install the same "
                    "versions on every node."
                )
        if place is None:
            return None
        module, function = place
        return getattr(importlib.import_module(module), function)(*arguments)

    return ask


# Words


class _Said:
    """What is made of what Ray would print: one sentence about everything that is lost."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, data: Mapping[str, Any], *_: Any, **__: Any) -> None:
        said = " ".join(map(str, data.get("lines", ())))
        if not self._told and any(word in said for word in ("unexpected", "retried", "killed")):
            self._told = True
            logging.getLogger("whence").warning(
                "A process or a node of the Ray cluster went away; its work is done again."
            )


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """Say what failed in Ray in one sentence; errors of the work itself are raised as they are."""
    errors: Any = importlib.import_module("ray.exceptions")
    kept = "what was done is kept if the run has a folder; go on with resume=True"
    try:
        yield
    except errors.TaskCancelledError as error:
        raise KeyboardInterrupt from error
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, errors.RayError):
            raise EngineError(f"{what}: {_first_sentence(cause)} ({kept}).") from error
        raise cause from error
    except errors.OutOfMemoryError as error:
        raise EngineError(
            f"{what} {ATTEMPTS} times, because its node ran out of memory; take fewer tasks at "
            f"once (more threads each) or larger nodes: {kept}."
        ) from error
    except errors.ObjectStoreFullError as error:
        raise EngineError(
            f"{what}, because Ray's object store is full; start Ray with a larger one (ray start "
            f"--object-store-memory=...): {kept}."
        ) from error
    except errors.OutOfDiskError as error:
        raise EngineError(
            f"{what}, because the disk of a node is full, on which Ray puts what its object store "
            f"cannot hold; make room: {kept}."
        ) from error
    except (errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError) as error:
        raise EngineError(
            f"{what} {ATTEMPTS} times, because its process or its node went away each time; look "
            f"for what ended it (memory, most often): {kept}."
        ) from error
    except (errors.RayError, ConnectionError) as error:
        raise EngineError(f"{what}: {_first_sentence(error)} ({kept}).") from error


def _first_sentence(error: BaseException) -> str:
    """The first line of what another library says, ended with a full stop."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said.rstrip(". ") + "."


# Surroundings


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ParameterError(
            f"address must be host:port of a Ray cluster, such as 10.0.0.1:6379, or 'auto', not "
            f"{address!r}."
        )
    try:
        with socket.create_connection((host, int(port)), timeout=REACHING) as line:
            line.sendall(_GREETING)
            if line.recv(9)[3:4] != _SETTINGS:
                raise OSError("what answers is not Ray")
    except OSError as error:
        raise EngineError(
            f"No Ray cluster answers at {address} within {REACHING:.0f} seconds ({error}); is one "
            "running there (ray start --head), and can this machine reach it?"
        ) from error


@contextmanager
def _as_before() -> Iterator[None]:
    """Keep Ray quiet while it starts, and the way in which this process is ended as it was."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _environment(_QUIET):
            yield
    finally:
        if in_main and handler is not None:
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _look_at_environment() -> None:
    """Let Ray, which has looked when it was imported, look again."""
    with suppress(ImportError, AttributeError):  # of versions that need not
        raylet: Any = importlib.import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _new_folder() -> str:
    """A folder for what Ray keeps while it runs."""
    prefix = f"{_PREFIX}{os.getpid()}-"
    short = len(tempfile.gettempdir()) + len(prefix) + 8 <= _LONGEST_FOLDER
    return tempfile.mkdtemp(prefix=prefix, dir=None if short else "/tmp")


def _remove_what_is_left() -> None:
    """Remove the folders of processes that were killed."""
    for place in {tempfile.gettempdir(), "/tmp"}:
        for folder in Path(place).glob(f"{_PREFIX}*-*"):
            number = folder.name.removeprefix(_PREFIX).split("-")[0]
            if number.isdigit() and not _is_running(int(number)):
                shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
