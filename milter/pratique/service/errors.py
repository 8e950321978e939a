"""What ends the service."""

from __future__ import annotations

import os


class ServiceError(Exception):
    """The service cannot start, or go on; the text is one line for the postmaster."""

    def __init__(self, text: str, status: int = os.EX_CANTCREAT):
        super().__init__(text)
        self.status = status
