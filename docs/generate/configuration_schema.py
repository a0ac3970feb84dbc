"""docs/costlab.schema.json, generated from the configuration: `python docs/generate/configuration_schema.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from costlab.ci.configuration import ProjectConfig

PAGE = Path(__file__).parents[1] / "costlab.schema.json"


def json_schema() -> dict[str, Any]:
    """The JSON schema of `[tool.costlab]` for editors, in the form of SchemaStore's partial schemas."""

    def strict(part: Any) -> Any:
        if isinstance(part, list):
            return [strict(each) for each in part]
        if not isinstance(part, dict):
            return part
        closed = {"additionalProperties": False} if "properties" in part else {}
        return {**{key: strict(value) for key, value in part.items()}, **closed}

    schema = strict(ProjectConfig.model_json_schema(by_alias=True))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://json.schemastore.org/partial-costlab.json",
        **schema,
        "title": "costlab",
        "description": "The models of a project, and how costlab lints them.",
    }


def schema_text() -> str:
    """The file."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(schema_text(), encoding="utf-8")
