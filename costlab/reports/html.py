"""A report for the browser: one file that holds all it needs, works from disk, and never asks the network."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from costlab.core.profile import Profile
from costlab.formatting.facts import title
from costlab.guidelines.model import Guideline, LintResult
from costlab.guidelines.registry import GUIDELINES
from costlab.reports.html_data import document

if TYPE_CHECKING:
    from costlab.latency.devices import Device
    from costlab.latency.prediction import Prediction

STYLES = ("page.css", "views.css", "print.css")
SCRIPTS = (  # each after those that it imports
    "dom.js",
    "units.js",
    "report.js",
    "state.js",
    "address.js",
    "tip.js",
    "header.js",
    "tree.js",
    "treemap.js",
    "axes.js",
    "roofline.js",
    "memory.js",
    "table.js",
    "findings.js",
    "main.js",
)
IMPORTS = re.compile(r"^import [^;]*;\n", re.M)  # for readers and editors: in the page all scripts are one
EXPORTS = re.compile(r"^export ", re.M)
UNSAFE = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})  # could end the script


def report(
    profile: Profile,
    result: LintResult,
    prediction: Prediction | None = None,
    device: Device | None = None,
    rules: Mapping[str, Guideline] = GUIDELINES,
) -> str:
    """The page of one profile.

    Names from the model are in its data only, which the browser never takes for markup, and a content security policy
    lets nothing run or load but the style and the script that are part of the page.

    Args:
        result: what the guidelines say of the profile, from `costlab.lint`.
        prediction: seconds for each of its operators, on `device`, whose ceilings are drawn.
        rules: the guidelines that were checked.
    """
    style, script = together(STYLES), bundled()
    return Template(page_file("template.html")).substitute(
        policy=f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; img-src data:;"
        " base-uri 'none'; form-action 'none'",
        title=escape(title(profile)),
        style=style,
        script=script,
        data=json.dumps(document(profile, result, prediction, device, rules), separators=(",", ":")).translate(UNSAFE),
    )


@cache
def bundled() -> str:
    """The scripts as one."""
    return EXPORTS.sub("", IMPORTS.sub("", together(SCRIPTS)))


@cache
def together(names: tuple[str, ...]) -> str:
    return "\n" + "\n".join(map(page_file, names))


def page_file(name: str) -> str:
    return (files("costlab.reports") / "page" / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """What a content security policy knows a script or a style by."""
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
