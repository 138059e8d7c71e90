"""One mistake, and what to change. Knows no rule."""

import dataclasses

__all__ = ["Finding"]


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """Say what is wrong, in which file, at which key, and what to change."""

    file: str
    where: str
    problem: str
    advice: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.where}" if self.where else self.file
        return f"{place}: {self.problem}" + (f"; {self.advice}" if self.advice else "")
