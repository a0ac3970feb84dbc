"""The JSON schema of the configuration accepts and rejects what costlab does."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from generate.configuration_schema import json_schema, schema_text
from pydantic import ValidationError

from costlab.ci.configuration import ProjectConfig

ROOT = Path(__file__).parents[2]
MODEL = {"name": "a", "target": "net.py:Net"}


def test_the_file_is_up_to_date_and_a_schema():
    assert (ROOT / "docs" / "costlab.schema.json").read_text(encoding="utf-8") == schema_text()
    jsonschema.Draft7Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize(
    ("table", "valid"),
    [
        ({}, True),
        ({"model": [MODEL]}, True),
        ({"model": [{**MODEL, "input": "1,3,8,8", "batch": 2, "budgets": {"params": "+1%", "mult_adds": 3}}]}, True),
        ({"model": [{**MODEL, "input": ["1,3,8,8"], "arguments": {"width": 0.5}}]}, True),
        ({"lint": {"select": ["G1"], "fail-level": "note", "fusion": "pointwise", "thresholds": {"G1": 0.1}}}, True),
        ({"lint": {"per-module-ignores": {"head.*": ["G1"]}, "device": "rtx3090"}}, True),
        ({"model": [{"name": "a"}]}, False),
        ({"model": [{**MODEL, "inputs": "1"}]}, False),
        ({"model": [{**MODEL, "input": [1]}]}, False),
        ({"model": [{**MODEL, "batch": "2"}]}, False),
        ({"model": [{**MODEL, "name": ""}]}, False),
        ({"lint": {"fail_level": "note"}}, False),
        ({"lint": {"fail-level": "fatal"}}, False),
        ({"lint": {"fusion": "all"}}, False),
        ({"lint": {"thresholds": {"G1": -1}}}, False),
        ({"lnt": {}}, False),
    ],
    ids=str,
)
def test_the_schema_agrees_with_the_configuration(table, valid):
    if valid:
        ProjectConfig.model_validate(table)
    else:
        with pytest.raises(ValidationError):
            ProjectConfig.model_validate(table)
    assert jsonschema.Draft7Validator(json_schema()).is_valid(table) is valid


def test_our_own_configuration_follows_the_schema():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["costlab"]
    jsonschema.validate(table, json_schema())
