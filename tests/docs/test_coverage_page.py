"""docs/coverage.md as it is written from a journal."""

from __future__ import annotations

from generate.coverage_page import providers, types_section

DONE = {"network": "BertModel", "mult_adds": 10, "params": 4, "error": "", "refused": "", "automatic": True}
JOURNAL = [
    {"group": "types", "name": "bert", **DONE, "counted": 10},
    {"group": "types", "name": "t5", **DONE, "counted": 12, "never_read": 0.5, "never_ran": ": decoder"},
    {"group": "types", "name": "rag", "error": "forward fails", "automatic": True},
    {"group": "types", "name": "bark", "error": "forward fails", "refused": "transformers cannot run it: x | y"},
    {"group": "types", "name": "dbrx", "error": "out of time", "automatic": True, "seconds": 60.0},
    {"group": "heads", "name": "bert BertForMaskedLM", **DONE},
]


def test_the_share_is_of_what_transformers_itself_can_run():
    lines = types_section(JOURNAL).splitlines()
    assert "| types | 5 | 1 | 4 | 2 | 50.0% | 2 | 1 |" in lines
    assert "| types with an AutoModel | 4 | 0 | 4 | 2 | 50.0% | 2 | 1 |" in lines
    assert "| head classes | 1 | 0 | 1 | 1 | 100.0% | 1 | 1 |" in lines
    assert any("2 types as well: 1 are equal to the last digit, 1 differ." in line for line in lines)


def test_a_type_has_its_state():
    lines = types_section(JOURNAL).splitlines()
    assert "| `bert` | BertModel | 10 | 4 | the same | profiled |" in lines
    never = "profiled; 50% of the parameters in modules that never ran: decoder"
    assert f"| `t5` | BertModel | 10 | 4 | 12 | {never} |" in lines
    assert "| `bark` |  |  |  |  | transformers cannot run it: x \\| y |" in lines
    assert "| `dbrx` |  |  |  |  | fails: out of time |" in lines


def test_a_provider_has_its_failures():
    done = {"operators": 3, "uncounted": [], "guesses": [["nonzero", 2]], "error": "", "seconds": 1.0}
    failed = {"error": "out of time", "seconds": 60.0}
    lines = providers([{"group": "zoo", "name": "zoo:a", **done}, {"group": "zoo", "name": "zoo:b", **failed}])
    assert "| zoo | 2 | 1 | 0 | 1 | 3 | 61 | zoo:b, 60.0 s |" in lines
    assert {"- `zoo:b`: out of time", "- `zoo:a`: nonzero x2"} <= set(lines)
