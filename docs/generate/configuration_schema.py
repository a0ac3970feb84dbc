"""docs/costlab.schema.json, generated from the configuration: `python docs/generate/configuration_schema.py`."""

from __future__ import annotations

import json
from pathlib import Path

from costlab.ci.configuration import json_schema

PAGE = Path(__file__).parents[1] / "costlab.schema.json"


def schema_text() -> str:
    """The file."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(schema_text(), encoding="utf-8")
