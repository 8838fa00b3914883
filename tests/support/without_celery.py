"""A callback of a listener that has no Celery."""

import sys
from importlib import import_module

sys.modules["celery"] = None  # type: ignore[assignment] # its import fails, as if not installed

function = import_module("tests.support.consumerino").function
