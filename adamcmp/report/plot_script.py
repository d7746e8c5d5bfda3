"""``plot.py``: what of ``adamcmp.figures`` a report's figures need, as one script that draws them from its tables.

Modules are written one after the other, without their imports of each other, which works since their names are unique;
imports of other packages come first, each once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from adamcmp.figures.registry import FIGURES
from adamcmp.figures.style import FigureStyle

FIRST_MODULES = ("metrics.spec", "figures.axis_labels", "figures.csv_io", "figures.style")
"""Modules that others depend on."""
PACKAGE = "adamcmp"


def plot_script(on: FigureStyle, figures: Iterable[str]) -> str:
    """Return the text of ``plot.py`` for these figures, as they are on that page."""
    environment = Environment(loader=PackageLoader("adamcmp.report"), undefined=StrictUndefined, autoescape=False)
    chosen = {name: FIGURES[name] for name in figures if name in FIGURES}
    imports, bodies = _bundle_modules(frozenset(drawing.draw.__module__ for drawing in chosen.values()))
    drawn = {name: (drawing.draw.__name__, drawing.tables) for name, drawing in chosen.items()}
    return environment.get_template("plot.jinja").render(page=on, imports=imports, bodies=bodies, drawn=drawn)


@cache
def _bundle_modules(modules: frozenset[str]) -> tuple[str, str]:
    """Return the imports of some drawing modules and of those that they stand on, and their code."""
    root = Path(str(resources.files(PACKAGE)))
    first = [root / f"{name.replace('.', '/')}.py" for name in FIRST_MODULES]
    needs = _imports_between(root / "figures")
    wanted = [root / "figures" / f"{module.rpartition('.')[2]}.py" for module in sorted(modules)]
    paths = [*first, *(path for module in wanted for path in _dependencies_first(module, needs))]
    imports: set[str] = set()
    bodies, seen = [], dict[str, str]()
    for path in dict.fromkeys(paths):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        for name in _defined_names(tree):
            if name in seen:
                raise RuntimeError(f"{path.name} and {seen[name]} both define {name}: one script cannot hold both")
            seen[name] = path.name
        dropped = [node for node in tree.body if _is_dropped(node)]
        imports |= {ast.unparse(statement) for node in dropped for statement in _external_imports(node)}
        lines = text.splitlines()
        for node in dropped:
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = ""
        code = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")
        title = (ast.get_docstring(tree) or "").splitlines()[0]
        bodies.append(f"# {'-' * 20} {path.stem}: {title}\n\n\n{code}")
    return "\n".join(sorted(imports)), "\n\n\n".join(bodies)


def _imports_between(folder: Path) -> dict[Path, list[Path]]:
    """Return each module of the drawing package → those of it that it imports."""
    return {
        path: [
            folder / f"{node.module.rpartition('.')[2]}.py"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}.figures.")
        ]
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__init__"
    }


def _dependencies_first(path: Path, needs: dict[Path, list[Path]]) -> list[Path]:
    """Return a module behind all that it stands on."""
    return [*(module for needed in needs[path] for module in _dependencies_first(needed, needs)), path]


def _is_dropped(node: ast.stmt) -> bool:
    """Return whether a statement is left out: imports, type-checking blocks, and the module's docstring."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.col_offset == 0
    is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom) or is_typing or (is_text and node.lineno == 1)


def _external_imports(node: ast.stmt) -> list[ast.stmt]:
    """Return one import a name, of packages that are not ours."""
    match node:
        case ast.ImportFrom(module=str(module), names=names, level=0) if module.split(".")[0] not in (
            PACKAGE,
            "__future__",
        ):
            return [ast.ImportFrom(module, [name], 0) for name in names if name.name != "TYPE_CHECKING"]
        case ast.Import(names=names):
            return [ast.Import([name]) for name in names]
        case _:
            return []


def _defined_names(tree: ast.Module) -> set[str]:
    """Return the names that a module defines."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names
