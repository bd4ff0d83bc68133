"""What a project is called. One project never sees another's data; a key lists those it has."""

from __future__ import annotations

import re
from typing import Final

PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
DEFAULT_PROJECT: Final = "default"
"""Of everything that names none, where its key does not say another."""
