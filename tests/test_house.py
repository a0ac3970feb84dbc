"""Rules of the code base: small files and functions, no import cycles, docstrings for everything at module level."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import networkx as nx
import pytest

import costlab

ROOT = Path(costlab.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
TABLES = (ast.Dict, ast.List, ast.Tuple, ast.Set)
IN_TABLES = (*TABLES, ast.Constant, ast.Name, ast.Attribute, ast.UnaryOp, ast.USub, ast.Load, ast.Starred)


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def lines_of(node: ast.AST) -> int:
    """Lines of a node, a literal table in it counted as one."""
    tables = sum(inner.end_lineno - inner.lineno for inner in outermost_tables(node))
    return node.end_lineno - node.lineno + 1 - tables


def outermost_tables(node: ast.AST) -> list[ast.AST]:
    children = list(ast.iter_child_nodes(node))
    return [table for child in children for table in ([child] if is_table(child) else outermost_tables(child))]


def is_table(node: ast.AST) -> bool:
    """Whether a node is a literal made of constants, names and other literals."""
    return isinstance(node, TABLES) and all(isinstance(inner, IN_TABLES) for inner in ast.walk(node))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_is_too_long(path):
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=str)
@pytest.mark.slow
def test_no_function_is_too_long(path):
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, FUNCTIONS)]
    assert {node.name: lines for node in functions if (lines := lines_of(node)) > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_everything_at_module_level_has_a_docstring(path):
    module = parsed(path)
    assert not module.body or ast.get_docstring(module)
    defined = [node for node in module.body if isinstance(node, (*FUNCTIONS, ast.ClassDef))]
    assert [node.name for node in defined if not node.name.startswith("__") and not ast.get_docstring(node)] == []


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("costlab", exclude_type_checking_imports=True)
    imports = nx.DiGraph(
        (module, imported) for module in graph.modules for imported in graph.find_modules_directly_imported_by(module)
    )
    assert [sorted(circle) for circle in nx.strongly_connected_components(imports) if len(circle) > 1] == []
