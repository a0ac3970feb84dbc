"""A report for the browser: one self-contained file that works from disk and never uses the network."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from costlab.core.profile import Profile
from costlab.formatting.facts import title
from costlab.guidelines.model import Guideline, LintResult
from costlab.guidelines.registry import GUIDELINES
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction
from costlab.reports.html_data import document

STYLES = ("page.css", "views.css", "print.css")
SCRIPTS = (  # each after its imports
    "dom.js",
    "units.js",
    "report.js",
    "state.js",
    "address.js",
    "tip.js",
    "header.js",
    "summary.js",
    "tree.js",
    "treemap.js",
    "axes.js",
    "roofline.js",
    "memory.js",
    "table.js",
    "findings.js",
    "main.js",
)
IMPORTS = re.compile(r"^import [^;]*;\n", re.M)  # for readers and editors; in the page all scripts are one
EXPORTS = re.compile(r"^export ", re.M)
UNSAFE = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})  # could end the script element


def report(
    profile: Profile,
    result: LintResult,
    prediction: Prediction | None = None,
    device: Device | None = None,
    rules: Mapping[str, Guideline] = GUIDELINES,
) -> str:
    """The page of one profile.

    Names from the model occur only in its data, which the browser never parses as markup, and a content security policy
    allows only the style and the script of the page itself.

    Args:
        result: the findings and verdicts of `costlab.lint` for the profile.
        prediction: the predicted time of each operator.
        device: the device of the prediction; its ceilings are drawn.
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
    """All scripts as one."""
    return EXPORTS.sub("", IMPORTS.sub("", together(SCRIPTS)))


@cache
def together(names: tuple[str, ...]) -> str:
    """Several files of the page as one text."""
    return "\n" + "\n".join(map(page_file, names))


def page_file(name: str) -> str:
    """The text of a file of the page."""
    return (files("costlab.reports") / "page" / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """The hash by which a content security policy allows a script or a style."""
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
