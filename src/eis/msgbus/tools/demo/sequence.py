"""Counting what is lost from a gapless numbering, exactly. No messages, no clocks."""


class Sequence:
    """Follow the numbers 1, 2, 3, ... as they arrive; what does not arrive in its turn is lost."""

    def __init__(self) -> None:
        self.seen = 0
        """How many numbers arrived in their turn."""
        self.lost = 0
        """How many numbers were passed over."""
        self.disordered = 0
        """How many numbers arrived twice or after a higher one."""
        self._last = 0
        self._gaps: list[tuple[int, int]] = []

    def see(self, number: int) -> None:
        """Take note of the number that arrived."""
        if number <= self._last:
            self.disordered += 1
            return
        self._pass_over(number)
        self.seen += 1
        self._last = number

    def end(self, total: int) -> None:
        """Take note that the highest number that was sent is `total`."""
        self._pass_over(total + 1)

    @property
    def missing(self) -> str:
        """Return the first ten gaps, for people: `17, 30-33`."""
        words = [str(first) if first == last else f"{first}-{last}" for first, last in self._gaps[:10]]
        return ", ".join(words + ["..."] * (len(self._gaps) > 10))

    def _pass_over(self, number: int) -> None:
        gap = number - self._last - 1
        if gap > 0:
            self.lost += gap
            self._gaps.append((self._last + 1, number - 1))
            self._last = number - 1
