"""The tree: tests mirror the package, and no file or function outgrows its one idea."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# Modules without a test file of their own, and which tests are theirs: what only has a meaning when
# a request goes through the whole of it is tested from outside.
CONFORMANCE = "test_conformance_*.py"
ELSEWHERE = {
    "__main__": "end_to_end/test_serve.py",
    "cli/serve": "end_to_end/test_serve.py",
    "config_listen": "test_config.py",
    "config_section": "test_config.py",
    "doctor/finding": "doctor/test_checkup.py",
    "engine": CONFORMANCE,
    "lookup": CONFORMANCE,
    "passthrough": CONFORMANCE,
    "request": CONFORMANCE,
    "web/app": CONFORMANCE,
    "web/exchange": CONFORMANCE,
    "web/own_head": CONFORMANCE,
    "web/refusal": CONFORMANCE,
}


def sources() -> Iterator[Path]:
    for folder in ("edgecache", "tests", "benchmarks", "scripts", "deploy"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def modules() -> Iterator[str]:
    for path in sorted((ROOT / "edgecache").rglob("*.py")):
        module = path.relative_to(ROOT / "edgecache").with_suffix("")
        if module.name != "__init__":
            yield module.as_posix()


def mirror(module: str) -> Path:
    path = Path(module)
    return ROOT / "tests" / path.parent / f"test_{path.name}.py"


def test_each_module_has_its_test_file() -> None:
    without = [module for module in modules() if not mirror(module).exists()]
    assert [module for module in without if module not in ELSEWHERE] == []


def test_the_exceptions_are_still_needed() -> None:
    present = list(modules())
    assert [m for m in ELSEWHERE if m not in present or mirror(m).exists()] == []


def test_the_tests_that_stand_in_are_there() -> None:
    tests = ROOT / "tests"
    assert [place for place in ELSEWHERE.values() if not list(tests.glob(place))] == []


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in sources()])
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = text.count("\n")
    assert lines <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"
