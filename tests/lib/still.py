# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time limits for what the host may stop for a while (SIGSTOP, a suspend, a starved container): that time does not count."""

import time

# One who looks some times a second and finds that more than this has passed since, stood still himself, and with him
# what he looks at.
STILL_S = 3.0


class Watch:
    """Begins when it is made. still: seconds that did not count."""

    def __init__(self):
        self.start = self.last = time.monotonic()
        self.still = 0.0

    def look(self):
        """Seconds that counted so far. To be called some times a second."""
        now = time.monotonic()
        if now - self.last > STILL_S:
            self.still += now - self.last
        self.last = now
        return now - self.start - self.still
