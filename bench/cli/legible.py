"""`--help` made to be read: paragraphs wrap, MODEL stands in place of STR, and `(default: None)` is not said."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

_CONTINUED = re.compile(r"\n {8,}(?=\S)")
"""Where a line of `Args:` goes on, in a docstring without its indent."""


def legible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same command for tyro, whose help of it then reads well."""

    def same(*values: Any, **named: Any) -> Any:
        return command(*values, **named)

    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in signature.parameters.items():
        kind, *details = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        shown = tyro.conf.arg(metavar=_metavar(name, kind), help_behavior_hint=_hint(parameter.default, details))
        hints[name] = Annotated[(kind, shown, *details)]
    same.__annotations__ = hints
    same.__signature__ = signature  # type: ignore[attr-defined]
    same.__doc__ = _CONTINUED.sub(" ", inspect.getdoc(command) or "")
    return same


def _metavar(name: str, kind: Any) -> str | None:
    """Return what stands for the value of a parameter that is text or a number of texts; None for tyro's own."""
    if kind == tuple[str, ...]:
        return f"{name.removesuffix('s').upper()} ..."
    texts = {str, type(None)}
    of = set(get_args(kind)) if isinstance(kind, UnionType) else {kind}
    return name.upper() if of <= texts else None


def _hint(default: Any, details: Sequence[Any]) -> str | None:
    """Return what is said of a default: nothing of one that means that the option is not given; None for tyro's own."""
    absent = default in (inspect.Parameter.empty, None, (), "") or default is False
    return "" if absent and tyro.conf.UseAppendAction not in details else None
