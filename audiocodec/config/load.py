"""YAML files and `--set` overrides -> `Config`; the only place that reads YAML.

Strict: unknown and duplicate keys, mistyped values and contradictions are errors with file and line,
and all of them are shown at once. The YAML is only parsed into nodes; the values are read by the types
of the schema (`values.py`). Text keys keep what is written (`name: no` is the text "no").
Left out on purpose: merge keys, tags, more than one parent in `extends:`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from audiocodec.config.plain import RENAMED
from audiocodec.config.schema import Config
from audiocodec.config.settings import Settings
from audiocodec.config.values import (
    MAX_KEYS,
    MAX_TEXT,
    TEXTS,
    Mistyped,
    current_name,
    expected,
    field_types,
    from_text,
    shown,
    tuple_items,
    unknown_key,
)
from audiocodec.errors import ConfigError
from audiocodec.files import read_text

_STANDARD = ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in _STANDARD}  # what PyYAML gives untagged nodes
_MAX_PARENTS = 16  # files that extend one another
_Pairs = list[tuple[yaml.Node, yaml.Node]]
# For a GPU, as these files of recipes/conf were, whose names others have now.
OF_RECIPES = {"speech_24k": "speech_24k_gpu", "speech_24k_residual": "speech_24k_residual_gpu"}
CONFIGS = Path(__file__).parents[1] / "configs"


def names() -> list[str]:
    """The configurations of the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def find(config: Path | str) -> Path:
    """The file of a configuration.

    Args:
        config: a file, or else a name in `names()`; `recipes/conf/NAME.yaml`, where they once were, is what
            it was then.

    Raises:
        ConfigError: there is no such file; names what there is.
    """
    path, packaged = Path(config), CONFIGS / f"{config}.yaml"
    if not path.is_file() and packaged.is_file():
        return packaged
    if path.exists():
        return path
    name = RENAMED.get(path.stem, path.stem)
    if path.parts[-3:-1] == ("recipes", "conf"):
        meant = OF_RECIPES.get(path.stem, name)
        if meant in names():
            return CONFIGS / f"{meant}.yaml"
    hint = f"the package has it as --config {name}" if name in names() else f"the package has {', '.join(names())}"
    raise ConfigError(f"{config}: no such configuration; {hint}")


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file, its parents, and overrides from the command line.

    Args:
        path: a YAML file, or the name of a configuration in the package (`names()`); `extends:` in it names one parent file,
            relative to the file it stands in, or a configuration in the package.
        overrides: `a.b=value` each, applied last and in order; lists as `[1, 2]`, text as it stands.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: everything that is wrong, one problem a line, each with its file:line or `--set`.
    """
    file = find(path)
    reader = _Reader(str(file))
    reader.read_file(file, where=None)
    for override in overrides:
        reader.read_override(override)
    return reader.settings.finish()


def config_from_text(text: str, source: str) -> Config:
    """Read a configuration from YAML text.

    Args:
        text: the YAML; `extends:` is refused, which would open other files.
        source: what error messages call it.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: everything that is wrong, one problem a line.
    """
    reader = _Reader(source)
    reader.read_text(text, source, None)
    return reader.settings.finish()


def dump_config(config: Config) -> str:
    """A configuration as YAML with every key written out, which reads back equal.

    Args:
        config: the configuration.

    Returns:
        The text, sections and keys in the order of the schema.
    """
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False, default_flow_style=None, width=120)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


@dataclass
class _Source:
    """Where the text being read comes from, for messages."""

    name: str
    lines: bool = True

    def at(self, line: int) -> str:
        return f"{self.name}:{line + 1}" if self.lines else self.name

    def of(self, node: yaml.Node) -> str:
        return self.at(node.start_mark.line)


class _Reader:
    """Collects settings and problems from all sources; later sources win."""

    def __init__(self, name: str) -> None:
        self.settings = Settings(name)
        self.problem = self.settings.problem

    # --- sources

    def read_file(self, path: Path, where: str | None, children: tuple[str, ...] = ()) -> None:
        """Read one file after its parents; `where` is the `extends:` line that asked for it."""
        blame = f"{where}: extends: {path}" if where else str(path)
        try:
            real = os.path.realpath(path)
            if real in children:
                return self.problem(blame, "extends itself, through " + " <- ".join(_names(children, real)))
            if len(children) >= _MAX_PARENTS:
                return self.problem(blame, f"extends more than {_MAX_PARENTS} files")
            text = read_text(path, MAX_TEXT)
        except UnicodeDecodeError as error:
            return self.problem(blame, f"not UTF-8 text (byte {error.start}: {error.reason})")
        except (OSError, ValueError) as error:
            return self.problem(blame, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        self.read_text(text, str(path), (*children, real))

    def read_text(self, text: str, name: str, children: tuple[str, ...] | None) -> None:
        """Read one text; `children` are the files that extend it, None where it is in no file."""
        source = _Source(name)
        root = self.compose(text, source)
        if root is None:
            return
        if not isinstance(root, yaml.MappingNode) or root.tag not in _TAGS:
            return self.problem(source.of(root), f"expected keys and values, got {_kind(root)}")
        parents = [pair for pair in root.value if pair[0].value == "extends"]
        if parents and children is None:
            self.problem(source.of(parents[0][1]), "extends: belongs in a file")
        elif parents:
            self.read_parent(parents[0][1], source, children or ())
        self.read_section(root.value, Config, "", source)

    def read_parent(self, node: yaml.Node, source: _Source, children: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            return self.problem(source.of(node), f"extends: expected one file name, got {_kind(node)}")
        beside, packaged = Path(source.name).parent / node.value, CONFIGS / f"{node.value}.yaml"
        path = packaged if not beside.exists() and packaged.is_file() else beside
        self.read_file(path, source.of(node), children)

    def compose(self, text: str, source: _Source) -> yaml.Node | None:
        """Parse YAML into nodes; None (and a problem) when it is not YAML, too long or empty."""
        if len(text) > MAX_TEXT:
            self.problem(source.name, f"has {len(text):,} characters, more than {MAX_TEXT:,}")
            return None
        try:
            root: yaml.Node | None = yaml.compose(io.StringIO(text), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = " ".join(filter(None, (error.context, error.problem)))
            self.problem(source.at(mark.line) if mark else source.name, f"not YAML: {message}")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            self.problem(source.at(line), f"not YAML: character {chr(error.character)!r} is not allowed")
        except RecursionError:
            self.problem(source.name, "not YAML: nested too deeply")
        else:
            if root is None:
                self.problem(source.name, "is empty; expected keys and values")
            return root
        return None

    def read_override(self, override: str) -> None:
        where = f"--set {override}"
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            return self.problem(where, "expected key=value, for example train.steps=1000")
        if key == "extends":
            return self.problem(where, "extends: belongs in a file")
        kind: Any = Config
        parts = key.split(".")
        for index, part in enumerate(parts):
            if not is_dataclass(kind):
                return self.problem(where, f"{key}: unknown key; there are none below {expected(kind)}")
            section = cast(type, kind)
            parts[index] = current_name(section, part)
            kind = field_types(section).get(parts[index])
            if kind is None:
                return self.problem(where, f"{key}: {unknown_key(section, part)}")
        key = ".".join(parts)
        source = _Source(where, lines=False)
        if kind is str or (kind == TEXTS and not text.lstrip().startswith("[")):
            # as it stands: '#', ': ' and quotes in a path mean themselves
            return self.settings.keep(key, text, where)
        node = self.compose(text if text.strip() else "null", source)
        if node is not None:
            self.read_value(node, kind, key, where, source)

    # --- nodes

    def read_section(self, pairs: _Pairs, cls: type, prefix: str, source: _Source) -> None:
        seen: dict[str, int] = {}
        if len(pairs) > MAX_KEYS:
            return self.problem(source.name, f"{prefix or 'top level'}: {len(pairs)} keys, need at most {MAX_KEYS}")
        for key_node, value_node in pairs:
            where, name = source.of(key_node), key_node.value
            if not isinstance(name, str):
                self.problem(where, f"{prefix or 'top level'}: a key must be a plain word, got {_kind(key_node)}")
                continue
            name = current_name(cls, name)
            if name in seen:
                first = f", first on line {seen[name]}" if source.lines else ""
                self.problem(where, f"{prefix}{name}: duplicate key{first}")
                continue
            seen[name] = key_node.start_mark.line + 1
            kind = field_types(cls).get(name)
            if kind is not None:
                self.read_value(value_node, kind, prefix + name, where, source)
            elif prefix or name != "extends":
                self.problem(where, f"{prefix}{name}: {unknown_key(cls, name)}")

    def read_value(self, node: yaml.Node, kind: Any, key: str, where: str, source: _Source) -> None:
        """Read one value as the schema's type; `where` is its key's place, `source` finds its parts'."""
        if is_dataclass(kind):
            if not isinstance(node, yaml.MappingNode) or node.tag not in _TAGS:
                return self.problem(where, f"{key}: expected {expected(kind)}, got {_kind(node)}")
            self.settings.origins[key] = where
            return self.read_section(node.value, cast(type, kind), key + ".", source)
        try:
            value = self.read_plain(node, kind)
        except Mistyped as error:
            self.settings.mistyped.add(key)
            return self.problem(source.of(node), f"{key}: {error}")
        self.settings.keep(key, value, where)

    def read_plain(self, node: yaml.Node, kind: Any) -> Any:
        if node.tag not in _TAGS:
            raise Mistyped(f"YAML tags are not supported, got {shown(node.tag)}")
        if kind == TEXTS:
            kind = tuple[str, ...] if isinstance(node, yaml.SequenceNode) else str
        if kind in (int, float, bool, str):
            if not isinstance(node, yaml.ScalarNode):
                raise Mistyped(f"expected {expected(kind)}, got {_kind(node)}")
            return from_text(node.value, kind, quoted=node.style is not None)
        if not isinstance(node, yaml.SequenceNode):
            raise Mistyped(f"expected {expected(kind)}, got {_kind(node)}")
        item, length = tuple_items(kind)
        if length is not None and len(node.value) != length:
            raise Mistyped(f"expected {length} values, got {len(node.value)}")
        return tuple(self.read_plain(part, item) for part in node.value)


def _kind(node: yaml.Node) -> str:
    if node.tag not in _TAGS:
        return f"the YAML tag {shown(node.tag)}"
    if isinstance(node, yaml.ScalarNode):
        return shown(node.value) if node.value else "no value"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a section of keys"


def _names(children: tuple[str, ...], real: str) -> list[str]:
    return [os.path.basename(name) for name in children[children.index(real) :]] + [os.path.basename(real)]
