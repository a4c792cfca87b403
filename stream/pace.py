"""How soon after each other units of work begin while messages come one by one."""


class Pace:
    """A unit of few messages costs nearly what one of many does: so one that has not all it might begins
    `times` as long after the one before as that took, at least `shortest_s` and at most `longest_s` (from
    begin to begin). Those that come meanwhile go with it.

    Times are seconds of one monotonic clock."""

    def __init__(self, *, times: float, shortest_s: float, longest_s: float) -> None:
        self._times, self._shortest_s, self._longest_s = times, shortest_s, longest_s
        self._began = 0.0
        self.next_at = 0.0

    def begin(self, now: float) -> None:
        self._began = now
        self.next_at = now + self._shortest_s

    def end(self, now: float) -> None:
        apart = self._times * (now - self._began)
        self.next_at = self._began + min(max(apart, self._shortest_s), self._longest_s)
