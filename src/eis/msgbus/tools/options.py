"""Options that several commands have, declared once: what is made of them is one argument. Knows no option."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["gathered"]

_Command = Callable[..., None]


def gathered(**makers: Callable[..., Any]) -> Callable[[_Command], _Command]:
    """Give a command the options of `makers` in place of its arguments of the same name, which they make."""

    def decorate(command: _Command) -> _Command:
        signature = inspect.signature(command)
        parts = {name: inspect.signature(maker).parameters for name, maker in makers.items()}

        @functools.wraps(command)
        def run(**options: Any) -> None:
            made = {name: makers[name](**{each: options.pop(each) for each in part}) for name, part in parts.items()}
            command(**made, **options)

        taken = [*signature.parameters.values(), *(each for part in parts.values() for each in part.values())]
        shown = [each.replace(kind=each.KEYWORD_ONLY) for each in taken if each.name not in makers]
        run.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]  # what typer looks at
        run.__annotations__ = {each.name: each.annotation for each in shown}
        return run

    return decorate
