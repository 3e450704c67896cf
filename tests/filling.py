"""The filler of servers that the demo and the bench use too, `scripts/seed_servers.py`: no package of the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

_PATH = Path(__file__).resolve().parent.parent / "scripts" / "seed_servers.py"


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("seed_servers", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["seed_servers"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


seed = _loaded().seed
