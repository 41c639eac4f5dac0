"""
Events about work that was given up (stream ``work-{lane}``).
"""

from .events import Event, topic


@topic("work.discarded.v1")
class WorkDiscarded(Event, frozen=True, kw_only=True):
    """
    Somebody acknowledged that an effect, a queued command or a timer will not be performed.

    ``lane`` and ``key`` say which, ``error`` why it could not be. Who acknowledged it stands in the
    envelope.
    """

    lane: str
    key: str
    reason: str
    error: str = ""
