"""Per-example gradients of a module, by watching where its parameters are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from whence.errors import UnsupportedError
from whence.influence.derived import Derived
from whence.influence.layers.axes import UNKNOWN, axis_of, batched, followed, owners_of
from whence.influence.layers.registry import (
    ANYWHERE,
    HARMLESS,
    VIEWS,
    Build,
    Call,
    View,
    rule_of,
)
from whence.influence.pieces import Key, Outer, Piece, merged

Batch = dict[str, Tensor]
Blocks = dict[Key, list[Piece]]


class NoRuleError(UnsupportedError):
    """There is no rule for a use of some parameters.

    Attributes
    ----------
    names : tuple of str
        The parameters; all that are looked at where it cannot be told which.
    """

    def __init__(self, message: str, names: Iterable[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


def gradients(
    loss: Callable[[Batch], Tensor],
    module: nn.Module,
    batch: Batch,
    names: Iterable[str],
    *,
    fuse: bool = True,
    tables: dict[Any, Tensor] | None = None,
) -> tuple[Blocks, Tensor]:
    """Gradients of the loss of each example of a batch.

    Parameters
    ----------
    loss : callable
        From a batch to a loss per example, Tensor [n].
    module : torch.nn.Module
        In evaluation mode, none of its parameters requiring a gradient.
    batch : dict of str to Tensor
    names : iterable of str
        Parameters to be looked at.
    fuse : bool
        Keep the parameters of a layer together where they share factors.
    tables : dict, optional
        Keeps what follows from the parameters alone, for other batches with the same parameters.

    Returns
    -------
    blocks : dict of tuple of str to list of pieces
        The gradient of a block is the sum of its pieces.
    losses : Tensor [n]

    Raises
    ------
    UnsupportedError
        If one of them is used in a way for which there is no rule.
    """
    capture = Capture(module, names, batch, tables)
    losses = capture.run(loss)
    return _blocks(capture.collect(losses), fuse), losses.detach()


class Capture(TorchFunctionMode):
    """Watches one forward pass; `collect` then makes the pieces by one pass back."""

    def __init__(
        self,
        module: nn.Module,
        names: Iterable[str],
        batch: Batch,
        tables: dict[Any, Tensor] | None = None,
    ) -> None:
        super().__init__()
        wanted = set(names)
        self.n = len(next(iter(batch.values())))
        self._module = module
        self._parameters: dict[str, Tensor] = {
            k: p for k, p in module.named_parameters() if k in wanted
        }
        self._views = {id(p): View.of(k, p, p) for k, p in self._parameters.items()}
        self._taps: list[tuple[Tensor, Build, tuple[str, ...]]] = []
        self._derived: dict[str, Derived] = {}
        self._at_work: list[Tensor] = []
        self._alive: list[Tensor] = []  # so that no id is given twice
        self._error: NoRuleError | None = None
        self._tables = tables
        self._lookups: dict[int, tuple[Tensor, str]] = {}
        self._terms = _owners_of_terms(batch)
        self.batch: Batch = {}
        for name, tensor in batch.items():
            self.batch[name] = batched(tensor.view_as(tensor))

    def run(self, loss: Callable[[Batch], Tensor]) -> Tensor:
        """Losses of the batch, [n]."""
        try:
            with torch.enable_grad(), self:
                return loss(self.batch)
        except TypeError:
            # Operators of tensors turn every TypeError into one about their operands.
            if self._error is not None:
                raise self._error from None
            raise
        except RuntimeError as error:
            if "in-place" not in str(error) and "inplace" not in str(error):
                raise
            raise NoRuleError(
                f"{type(self._module).__name__} changes what a layer gave in place, as x *= 2 or "
                "x.relu_() do, so that the layer's gradient cannot be told; write x = x * 2 or "
                "x.relu() in its forward, or ask for method='autograd'.",
                self._parameters,
            ) from error

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a torch function, by the rule where a tracked parameter is among its arguments."""
        kwargs = dict(kwargs or {})
        if kwargs.get("inplace"):
            # What a layer gave is needed as it was.
            kwargs["inplace"] = False
        given = tensors((args, kwargs))
        tracked = [tensor for tensor in given if id(tensor) in self._views]
        of_batch = [tensor for tensor in given if axis_of(tensor) is not None]
        if not tracked or func in HARMLESS:
            result = func(*args, **kwargs)
        elif func in VIEWS or (func is torch.Tensor.__getitem__ and not tensors(args[1:])):
            result = self._part(func, tracked[0], args, kwargs)
            of_batch = []
        else:
            result = self._by_rule(func, args, kwargs, tracked, of_batch)
            if isinstance(result, Tensor) and id(result) in self._views:
                of_batch = []
            elif not of_batch:
                self._mark(result, batched)
        if of_batch and not isinstance(result, torch.Size):
            widest = max(of_batch, key=lambda tensor: tensor.dim())
            self._mark(result, followed(func, args, kwargs, widest, self.n))
        return result

    def _mark(self, result: Any, mark: Callable[[Tensor], Tensor]) -> None:
        for tensor in tensors(result):
            if id(tensor) not in self._views and axis_of(tensor) is None:
                mark(tensor)

    def _by_rule(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tracked: list[Tensor],
        of_batch: list[Tensor],
    ) -> Any:
        """Call a function that is given tracked parameters."""
        rule = rule_of(func)
        axis = max((axis_of(tensor) or 0 for tensor in of_batch), default=0)
        if any(axis_of(tensor) == UNKNOWN for tensor in of_batch):
            rule = None
        if any(self._views[id(tensor)] is None for tensor in tracked):
            rule = None
        before, self._at_work = self._at_work, tracked
        try:
            result: Any = NotImplemented
            if rule is not None and axis and func not in ANYWHERE:
                if isinstance(args[0], Tensor) and axis_of(args[0]) == axis:
                    first = batched(args[0].transpose(0, axis))
                    result = rule(Call(self, func, (first, *args[1:]), kwargs))
                    if result is not NotImplemented:
                        result = batched(result.transpose(0, axis), axis)
            elif rule is not None:
                result = rule(Call(self, func, args, kwargs))
        except NoRuleError:
            raise
        except UnsupportedError as error:
            raise self._failed(str(error), tracked) from error
        finally:
            self._at_work = before
        if result is NotImplemented and not of_batch:
            result = self._derive(func, args, kwargs)
        if result is NotImplemented:
            raise self._no_rule(func, tracked)
        return result

    def _derive(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What follows from parameters alone, itself tracked as if it were one."""
        made = Derived.of(func, args, kwargs, self._views, self.parameter)
        if made is None:
            return NotImplemented
        name = f"derived-{len(self._derived)}"
        value = made.result.detach()
        view = View.of(name, value, value)
        if view is None:
            return NotImplemented
        self._derived[name] = made
        self._parameters[name] = value
        return self.mark(value, view)

    def collect(self, losses: Tensor) -> list[Piece]:
        """Pieces of the gradients of the losses [n]."""
        if losses.shape != (self.n,):
            raise UnsupportedError(
                f"The loss of a batch of {self.n} examples has shape {tuple(losses.shape)}; "
                "example_loss must return one value per example."
            )
        if not self._taps:
            return []
        outputs = [tensor for tensor, *_ in self._taps]
        # What the loss does not depend on gets zeros, so that every batch has the same blocks.
        grads = torch.autograd.grad(losses.sum(), outputs, materialize_grads=True)
        pieces: list[Piece] = []
        for (_, build, names), grad in zip(self._taps, grads):
            try:
                pieces += build(grad)
            except UnsupportedError as error:
                raise NoRuleError(str(error), self._originals(names)) from error
        self._taps.clear()
        for name, made in reversed(self._derived.items()):
            pieces = made.pulled_back(name, pieces, self.n)
        return pieces

    # What the rules ask

    def view_of(self, tensor: Any) -> View | None:
        """What an argument is of a tracked parameter."""
        return self._views.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def mark(self, tensor: Tensor, view: View) -> Tensor:
        """Say that a tensor stands for (a part of) a parameter."""
        self._alive.append(tensor)
        self._views[id(tensor)] = view
        return tensor

    def parameter(self, name: str) -> Tensor:
        """The parameter itself."""
        return self._parameters[name]

    def whole(self, tensor: Tensor) -> str | None:
        """Name of the tracked parameter that a tensor is, as it stands."""
        view = self.view_of(tensor)
        if view is not None and view.name in self._derived:
            return None
        return view.name if view is not None and tensor is self._parameters[view.name] else None

    def note_lookup(self, rows: Tensor, numbers: Tensor, weight: Tensor) -> None:
        """Say that `rows` are those of a table with some numbers."""
        name = self.whole(weight)
        if name is not None:
            self._alive.append(rows)
            self._lookups[id(rows)] = numbers, name

    def looked_up(self, rows: Tensor) -> tuple[Tensor, str] | None:
        """Numbers of the rows of a tracked parameter that a tensor consists of, and its name."""
        return self._lookups.get(id(rows))

    def table(self, key: Any, make: Callable[[], Tensor]) -> Tensor | None:
        """What follows from the parameters alone, if such is kept."""
        if self._tables is None:
            return None
        if key not in self._tables:
            self._tables[key] = make()
        return self._tables[key]

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor comes from the batch, so that its rows belong to examples."""
        return axis_of(tensor) is not None

    def batched(self, tensor: Tensor, like: Tensor | None = None) -> Tensor:
        """Say that the rows of a tensor belong to examples, as those of another."""
        return batched(tensor.view_as(tensor), 0, None if like is None else owners_of(like))

    def call(self, function: Any, *args: Any) -> Any:
        """Call a torch function with tracked parameters, by its rule."""
        return self.__torch_function__(function, (), args)

    def said_owners(self, tensor: Tensor) -> Tensor | None:
        """Example of each row of a tensor whose rows are in an order of their own."""
        return owners_of(tensor)

    def owners(self, tensor: Tensor) -> Tensor:
        """Example of each index of the first dimension, int64 [N]."""
        size, said = len(tensor), owners_of(tensor)
        if said is not None and len(said) == size:
            return said
        if size == self.n:
            return torch.arange(self.n)
        if self._terms is not None and size == len(self._terms):
            return self._terms
        if size % self.n == 0:
            return torch.arange(self.n).repeat_interleave(size // self.n)
        raise UnsupportedError(
            f"A layer works on {size} rows, which cannot be told apart into the {self.n} examples "
            "of the batch; ask for method='autograd'."
        )

    def by_example(self, tensor: Tensor, keep: int = 1, owners: Tensor | None = None) -> Tensor:
        """The tensor as [n, T, ...]; its last `keep` dimensions stay.

        `owners` are the examples of its rows, where it does not say so itself.
        """
        kept = tensor.shape[tensor.dim() - keep :]
        said = owners_of(tensor) if owners is None else owners
        owner = self._terms if said is None else said
        if owner is None or len(tensor) != len(owner) or (said is None and len(tensor) == self.n):
            self.owners(tensor)
            return tensor.reshape(self.n, -1, *kept)
        counts = torch.bincount(owner, minlength=self.n)
        order = torch.argsort(owner, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner[order]]
        out = tensor.new_zeros(self.n, int(counts.max()), *tensor.shape[1:])
        out[owner, place] = tensor
        return out.reshape(self.n, -1, *kept)

    def tap(self, output: Tensor, build: Build) -> Tensor:
        """Ask for the gradient of `output`, of which `build` makes pieces."""
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        names = dict.fromkeys(self._name_of(tensor) for tensor in self._at_work)
        self._taps.append((output, build, tuple(names)))
        return output

    def _part(
        self, func: Any, tracked: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A part of a parameter, which is tracked in its turn."""
        part = func(*args, **kwargs)
        name = self._name_of(tracked)
        whole = self._parameters[name]
        same = part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        view = View.of(name, whole, part) if same else None
        if part is tracked:
            return part
        if view is not None:
            return self.mark(part, view)
        derived = self._derive(func, args, kwargs)
        if derived is NotImplemented:
            raise self._no_rule(func, [tracked])
        return derived

    def _name_of(self, tracked: Tensor) -> str:
        view = self._views[id(tracked)]
        if view is not None:
            return view.name
        return next(name for name, p in self._parameters.items() if p is tracked)

    def _originals(self, names: Iterable[str]) -> list[str]:
        """Names of parameters, for what is derived from them those that it comes from."""
        found: dict[str, None] = {}
        for name in names:
            sources = self._derived[name].names if name in self._derived else None
            found |= dict.fromkeys([name] if sources is None else self._originals(sources))
        return list(found)

    def _failed(self, message: str, tracked: list[Tensor]) -> NoRuleError:
        names = self._originals(self._name_of(tensor) for tensor in tracked)
        self._error = NoRuleError(message, names)
        return self._error

    def _no_rule(self, func: Any, tracked: list[Tensor]) -> NoRuleError:
        name = self._originals([self._name_of(tracked[0])])[0]
        layer = self._module.get_submodule(name.rpartition(".")[0])
        return self._failed(
            f"There is no rule for the gradients of single examples of {name!r} "
            f"({type(layer).__name__}, used by {getattr(func, '__name__', func)}); leave it out "
            "with layers=..., or ask for the general but slow way with method='autograd'.",
            tracked,
        )


def _owners_of_terms(batch: Batch) -> Tensor | None:
    """Example of each term of the loss, where an example has a target at every place."""
    target = batch.get("target")
    if target is None or target.dim() != 2:
        return None
    return (target >= 0).nonzero()[:, 0]


def tensors(value: Any) -> list[Tensor]:
    """All tensors in arguments or results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in tensors(part)]
    if isinstance(value, dict):
        return [tensor for part in value.values() for tensor in tensors(part)]
    return []


def _blocks(pieces: list[Piece], fuse: bool) -> Blocks:
    """Pieces by block: parameters are together where they are used together, and only so."""
    pieces = merged(pieces)
    uses: dict[str, int] = {}
    for piece in pieces:
        for name in piece.key:
            uses[name] = uses.get(name, 0) + 1
    blocks: Blocks = {}
    for piece in pieces:
        whole = fuse and all(uses[name] == 1 for name in piece.key)
        parts = piece.split() if isinstance(piece, Outer) and not whole else [piece]
        for part in parts:
            blocks.setdefault(part.key, []).append(part)
    return blocks
