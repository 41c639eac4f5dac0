"""A shop whose messages never arrive: ``hanging_shop:wiring`` says so in a file, and hangs."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import msgspec

from orderledger.commands.lanes import RULES
from orderledger.ledger.provider_ports import Notify, NotifyAnswer, Ports
from orderledger.machinery import Wiring
from tests.machinery.test_outbox import Welcome

LEASE = timedelta(seconds=1)
RULES_SOON = {lane: msgspec.structs.replace(one, lease=LEASE) for lane, one in RULES.items()}
CALLED = "CALLED_FILE"
"""Environment variable that names the file."""


class Silence:
    """Notification that does not answer."""

    def notify(self, request: Notify) -> NotifyAnswer:
        Path(os.environ[CALLED]).touch()
        threading.Event().wait()
        return NotifyAnswer()


wiring = Wiring(ports=Ports(notification=Silence()), reactors=(Welcome(),), rules=RULES_SOON)
