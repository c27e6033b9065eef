"""Who may import whom, and which library lives where: the tables of CONTRIBUTING.md, held against every import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import audiocodec

PACKAGE = Path(__file__).parents[2] / "audiocodec"

WORDS = re.compile(r"`([^`]+)`")


def _table(heading: str) -> list[list[str]]:
    """The cells of the rows below `heading` in CONTRIBUTING.md."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.split(f"| {heading} |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _rooms(cell: str) -> tuple[str, ...]:
    return tuple(name.replace("/", ".") for name in WORDS.findall(cell))


# Longest prefix counts. A file imports lower layers and its own folder; only for types it may also name another room of its
# own layer.
LAYERS = {room: int(layer) for layer, cell in _table("layer | rooms") for room in _rooms(cell)}

# Where the public names of the package are, which it finds when they are used.
HOMES = {name: audiocodec._HOMES.get(name, "errors") for name in audiocodec.__all__ if name != "__version__"}

# The one exception: methods of these modules that are shortcuts to verbs, which they import late, from the package.
SHORTCUTS = {room: _rooms(verbs) for cell, verbs in _table("shortcuts in | to") for room in _rooms(cell)}

# What only these may import, as prefixes of modules.
OWNERS = {library.strip(): _rooms(cell) for names, cell in _table("library | only in") for library in names.split(",")}
WITHOUT_TORCH = (
    "errors",
    "files",
    "config",
    "tokens",
    "audio",
    "data",
    "constants",
    "codec.exact",
    "codec.interface",
    "codec.inputs",
    "codec.latent_error",
    "codec.measure",
    "codec.files",
    "model_file",
    "model_header",
    "nn.plan",
    "nn.matrices",
    "onnx",
    "loading",
    "contents",
    "records",
    "terminal",
    "arrays",
    "demo",
    "reporting.plots.spectrogram",
    "cli",
    "__main__",
)


@dataclass(frozen=True)
class Import:
    """One import: the module's dotted name, and whether it happens when the importing file is imported."""

    target: str
    line: int
    at_import: bool
    for_types_only: bool


def test_the_tables_name_what_there_is() -> None:
    rooms = {*LAYERS, *(room for owners in OWNERS.values() for room in owners)}
    assert len(LAYERS) > 20 and len(OWNERS) > 10
    assert [room for room in rooms if _own(f"audiocodec.{room}") != room] == []
    used = {found.target for _, tree in _modules() for found in _imports(tree)}
    idle = [library for library, owners in OWNERS.items() if owners and not any(_starts(u, library) for u in used)]
    assert idle == []


def test_the_table_of_shortcuts_names_what_there_is() -> None:
    used = {
        module: {name for found in _imports(tree) if (name := _shortcut(module, found))} for module, tree in _modules()
    }
    assert SHORTCUTS and {module: names for module, names in used.items() if names} == {
        module: set(verbs) for module, verbs in SHORTCUTS.items()
    }


def test_every_module_has_a_layer() -> None:
    homeless = [module for module, _ in _modules() if module and _layer(module) is None]
    assert homeless == []


def test_imports_go_down_or_stay_in_the_folder() -> None:
    assert [line for module, tree in _modules() for line in _upward(module, tree)] == []


def test_no_circles() -> None:
    graph = {
        module: {_own(i.target) for i in _imports(tree) if i.at_import and i.target.startswith("audiocodec.")}
        for module, tree in _modules()
    }
    assert _circle(graph) is None


def test_libraries_stay_with_their_owners() -> None:
    assert [line for module, tree in _modules() for line in _strays(module, tree)] == []


def test_no_torch_where_none_is_needed() -> None:
    assert [line for module, tree in _modules() for line in _early_torch(module, tree)] == []


def test_print_and_exit_only_in_the_command_line() -> None:
    assert [line for module, tree in _modules() for line in _talk(module, tree)] == []


def test_importing_the_package_imports_nothing_of_it() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert [i.target for i in _imports(tree) if i.at_import and i.target.split(".")[0] == "audiocodec"] == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("nn.conv", "from audiocodec.codec.torch import Codec", "nn.conv:1 imports codec.torch"),
        ("nn.conv", "from audiocodec.quantization import simvq", "nn.conv:1 imports quantization.simvq"),
        ("tokens.token_file", "def f():\n    import audiocodec.cli.main", "tokens.token_file:2 imports cli.main"),
        ("tokens.bitpack", "from ..codec import Codec", "tokens.bitpack:1 is a relative import"),
        ("nn.conv", "def f():\n    from audiocodec import load", "nn.conv:2 imports loading"),
        ("tokens.bitpack", "from audiocodec import CorruptFile, Codec", "tokens.bitpack:1 imports codec.torch"),
        ("nn.conv", "import audiocodec\n\naudiocodec.load()", "nn.conv:3 imports loading"),
        ("codec.torch", "from audiocodec import push", "codec.torch:1 imports publishing"),
        ("codec.torch", "def f():\n    from audiocodec import train", "codec.torch:2 imports training.run"),
        ("codec.torch", "def f():\n    from audiocodec.loading import load", "codec.torch:2 imports loading"),
    ],
)
def test_the_check_of_layers_sees(module: str, source: str, found: str) -> None:
    assert list(_upward(module, ast.parse(source))) == [found]


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("data.dataset", "import soundfile as sf", "data.dataset:1 imports soundfile"),
        ("nn.conv", "def f():\n    from torch import distributed", "nn.conv:2 imports torch.distributed"),
        ("config.schema", "from yaml import safe_load", "config.schema:1 imports yaml.safe_load"),
    ],
)
def test_the_check_of_owners_sees(module: str, source: str, found: str) -> None:
    assert list(_strays(module, ast.parse(source))) == [found]


def test_the_other_checks_see() -> None:
    talk = ast.parse("import sys\nprint('x')\nsys.exit(1)\nraise SystemExit(2)")
    assert list(_talk("codec", talk)) == ["codec:2 print", "codec:3 sys.exit", "codec:4 SystemExit"]
    early = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch\n"
    assert list(_early_torch("cli.main", ast.parse(early))) == []
    assert list(_early_torch("cli.main", ast.parse(early + "import torch.nn"))) == ["cli.main:6 imports torch.nn"]
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) is not None
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def _modules() -> Iterator[tuple[str, ast.Module]]:
    """(dotted name inside the package, syntax tree) of every file; the package itself is ''."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(tree: ast.AST, at_import: bool = True, types_only: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_import and not types_only, types_only)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, at_import and not types_only, types_only)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for inner in node.body:
                yield from _imports(ast.Module([inner], []), at_import, True)
            for inner in node.orelse:
                yield from _imports(ast.Module([inner], []), at_import, types_only)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "audiocodec":
            yield Import(f"audiocodec.{node.attr}", node.lineno, at_import and not types_only, types_only)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(node, at_import and not inside, types_only)


def _own(target: str) -> str:
    """`audiocodec.a.b.Name` -> the module that it is in, without the package's name; '' for what the package itself defines."""
    parts = target.split(".")[1:]
    if len(parts) == 1 and parts[0] in HOMES:
        return HOMES[parts[0]]
    while parts:
        path = PACKAGE.joinpath(*parts)
        if path.with_suffix(".py").is_file() or path.is_dir():
            return ".".join(parts)
        parts.pop()
    return ""


def _layer(module: str) -> int | None:
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((LAYERS[prefix] for prefix in prefixes if prefix in LAYERS), None)


def _upward(module: str, tree: ast.Module) -> Iterator[str]:
    if not module:  # the package itself only names, for types, what it loads later
        return
    for found in _imports(tree):
        if found.target.startswith("."):
            yield f"{module}:{found.line} is a relative import"
        if not found.target.startswith("audiocodec."):
            continue
        target = _own(found.target)
        if target and not _shortcut(module, found) and not _may_import(module, target, found.for_types_only):
            yield f"{module}:{found.line} imports {target}"


def _shortcut(module: str, found: Import) -> str | None:
    """The verb to which an import is a shortcut that the table allows."""
    verb = found.target.removeprefix("audiocodec.")
    late = not found.at_import and not found.for_types_only
    return verb if late and verb in SHORTCUTS.get(module, ()) else None


def _may_import(module: str, target: str, for_types_only: bool) -> bool:
    mine, theirs = _layer(module), _layer(target)
    assert mine is not None and theirs is not None
    same_folder = module.rpartition(".")[0] == target.rpartition(".")[0] or module.split(".")[0] == target.split(".")[0]
    return theirs < mine or (theirs == mine and (same_folder or for_types_only))


def _circle(graph: dict[str, set[str]]) -> list[str] | None:
    """A circle in the graph, or None."""
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return path[path.index(node) :]
        if node in finished:
            return None
        for following in sorted(graph.get(node, ())):
            if following != node and (circle := visit(following, [*path, node])):
                return circle
        finished.add(node)
        return None

    return next((circle for node in graph if (circle := visit(node, []))), None)


def _starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _strays(module: str, tree: ast.Module) -> Iterator[str]:
    for found in _imports(tree):
        for library, owners in OWNERS.items():
            if _starts(found.target, library) and not any(_starts(module, owner) for owner in owners):
                yield f"{module}:{found.line} imports {found.target}"


def _early_torch(module: str, tree: ast.Module) -> Iterator[str]:
    if not any(_starts(module, name) for name in WITHOUT_TORCH):
        return
    for found in _imports(tree):
        if found.at_import and _starts(found.target, "torch"):
            yield f"{module}:{found.line} imports {found.target}"


def _talk(module: str, tree: ast.Module) -> Iterator[str]:
    if _starts(module, "cli") or module == "__main__":
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "input", "exit")
        ):
            yield f"{module}:{node.lineno} {node.func.id}"
        if isinstance(node, ast.Attribute) and node.attr == "exit" and ast.unparse(node.value) == "sys":
            yield f"{module}:{node.lineno} sys.exit"
        if isinstance(node, ast.Name) and node.id == "SystemExit":
            yield f"{module}:{node.lineno} SystemExit"
