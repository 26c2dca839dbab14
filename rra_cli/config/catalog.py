"""What there is to choose from, read from the YAML folders and the sources without importing any component.

`rra ls`, tab completion and the check of keys must not wait for torch, so the classes are read as syntax trees. A
contract test compares what is found here with what importing finds.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.resources import files
from pathlib import Path

from rra_cli.core.component import GROUPS, plugins

CONFIG_PACKAGE = "rra_cli.conf"
RECIPES = "recipe/"


@dataclass(frozen=True)
class Option:
    """One YAML file of a group. about: its first line of comment."""

    group: str
    name: str
    path: Path
    about: str


@dataclass(frozen=True)
class Entry:
    """One component as its source says. fields: name -> annotation; about: first line of the docstring."""

    group: str
    name: str
    class_name: str
    about: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Class:
    bases: tuple[str, ...]
    name: str | None
    about: str
    fields: Mapping[str, str]


def own_folder() -> Path:
    """The folder of the configurations that come with rra."""
    return Path(str(files(CONFIG_PACKAGE)))


@cache
def plugin_folders() -> tuple[Path, ...]:
    """The `conf` folders of installed plug-ins."""
    found = []
    for plugin in plugins():
        spec = _locate(plugin.value)
        if spec is None or spec.origin is None or ("." not in plugin.value and not spec.submodule_search_locations):
            continue
        folder = Path(spec.origin).parent / "conf"
        if folder.is_dir():
            found.append(folder)
    return tuple(found)


def options(config_dirs: Sequence[Path] = ()) -> dict[str, dict[str, Option]]:
    """Group -> option -> file: ours, those of plug-ins and those of the user's folders; the first of a name wins.

    Recipes are none: they are what experiments change in an option for the method chosen.
    """
    found: dict[str, dict[str, Option]] = {}
    for root in (own_folder(), *plugin_folders(), *config_dirs):
        for path in sorted(root.rglob("*.yaml")):
            group, _, name = path.relative_to(root).with_suffix("").as_posix().partition("/")
            if name and group != "hydra" and not name.startswith(RECIPES):
                found.setdefault(group, {}).setdefault(name, Option(group, name, path, _comment(path)))
    return found


@cache
def launchers() -> dict[str, tuple[str, ...]]:
    """Our launchers of sweeps, and the fields of each."""
    folder = own_folder() / "hydra" / "launcher"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}
    return {"basic": (), **{name: tuple(re.findall(r"^(\w+):", text, re.MULTILINE)) for name, text in texts.items()}}


def entries(group: str) -> dict[str, Entry]:
    """The components of a group by name, in name order."""
    package, base_module, base = GROUPS[group]
    classes: dict[str, _Class] = {}
    dotted = (package, base_module, *(plugin.value for plugin in plugins()))
    aliases: dict[str, str] = {}
    for path in dict.fromkeys(path for module in dotted for path in _sources(module)):
        aliases.update(_aliases(path))
        for class_name, cls in _classes(path).items():
            # Two plug-ins may use one class name; base classes are looked up by the first of a name.
            classes[class_name if class_name not in classes else f"{path.stem}.{class_name}"] = cls
    found = {}
    for class_name, cls in classes.items():
        ancestors = list(_ancestors(class_name, classes))
        if cls.name is not None and base in ancestors:
            fields: dict[str, str] = {}
            for ancestor in (*reversed(ancestors), class_name):
                fields.update(classes[ancestor].fields if ancestor in classes else {})
            spelled = {key: aliases.get(annotation, annotation) for key, annotation in fields.items()}
            found[cls.name] = Entry(group, cls.name, class_name, cls.about, spelled)
    return dict(sorted(found.items()))


def _comment(path: Path) -> str:
    """The first line of comment that says something."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    for line in lines:
        text = line.lstrip("# ").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
        if line.strip() and not line.startswith("#"):
            return ""
    return ""


def _locate(dotted: str) -> ModuleSpec | None:
    """Where a module lies, without importing it or its parents."""
    first, *rest = dotted.partition(":")[0].split(".")
    spec = importlib.util.find_spec(first)
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec


def _sources(dotted: str) -> list[Path]:
    """The source of a module, and of its direct sub-modules where it is a package."""
    spec = _locate(dotted)
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        return [origin]
    return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).glob("*.py"))


def _classes(path: Path) -> dict[str, _Class]:
    return {node.name: _read(node) for node in _statements(path) if isinstance(node, ast.ClassDef)}


def _aliases(path: Path) -> dict[str, str]:
    """`Name = Literal[...]` of a module: name -> right side."""
    found = {}
    for node in _statements(path):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = ast.unparse(node.value)
            if text.startswith("Literal["):
                found[node.targets[0].id] = text
    return found


@cache
def _statements(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []


def _read(node: ast.ClassDef) -> _Class:
    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    name, fields = None, {}
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            value: ast.expr | None = statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            targets, value = [statement.target.id], statement.value
            annotation = ast.unparse(statement.annotation)
            if not annotation.startswith(("ClassVar", "typing.ClassVar")):
                fields[targets[0]] = annotation
        else:
            continue
        if targets == ["name"] and isinstance(value, ast.Constant) and isinstance(value.value, str):
            name = value.value
    about = (ast.get_docstring(node) or "").partition("\n")[0]
    return _Class(bases, name, about, fields)


def _ancestors(class_name: str, classes: Mapping[str, _Class]) -> Iterator[str]:
    """Names of all base classes, nearest first."""
    for base in classes[class_name].bases if class_name in classes else ():
        yield base
        yield from _ancestors(base, classes)
