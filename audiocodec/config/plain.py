"""`Config` <-> JSON, as model files hold it: for the machine, and without PyYAML, which the light runtime lacks."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass, replace
from typing import Any, cast

from audiocodec.config.schema import Config
from audiocodec.config.settings import Settings
from audiocodec.config.values import (
    MAX_KEYS,
    MAX_NUMBER,
    MAX_TEXT,
    TEXTS,
    current_name,
    expected,
    field_types,
    shown,
    tuple_items,
    unknown_key,
)
from audiocodec.errors import ConfigError
from audiocodec.records import from_json

# Configurations that have got another name; the models in the package were trained under the old ones.
RENAMED = {"speech_24k_small": "speech_24k", "speech_24k_residual_small": "speech_24k_residual"}


def config_to_json(config: Config) -> str:
    """A configuration with every key written out, which reads back equal."""
    return json.dumps(asdict(config), ensure_ascii=False)


def config_from_json(text: str, source: str) -> Config:
    """Read a configuration from JSON.

    Args:
        text: what `config_to_json` wrote, of this version or another; a missing key has its default.
        source: what error messages call it.

    Raises:
        ConfigError: everything that is wrong, one problem a line.
    """
    settings = Settings(source)
    try:
        values = from_json(text, limit=MAX_TEXT)
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from error
    _keep_section(settings, values, Config, "")
    config = settings.finish()
    return replace(config, name=RENAMED.get(config.name, config.name))


def _keep_section(settings: Settings, values: Any, cls: type, prefix: str) -> None:
    if not isinstance(values, dict):
        return settings.problem(
            settings.name, f"{prefix or 'top level'}: expected a section of keys, got {_shown(values)}"
        )
    if len(values) > MAX_KEYS:
        return settings.problem(settings.name, f"{prefix or 'top level'}: {len(values)} keys, need at most {MAX_KEYS}")
    for old, value in values.items():
        name = current_name(cls, old)
        key, kind = prefix + name, field_types(cls).get(name)
        if kind is None:
            settings.problem(settings.name, f"{key}: {unknown_key(cls, name)}")
        elif is_dataclass(kind):
            _keep_section(settings, value, cast(type, kind), key + ".")
        elif not _fits(value, kind):
            settings.mistyped.add(key)
            settings.problem(settings.name, f"{key}: expected {expected(kind)}, got {_shown(value)}")
        else:
            settings.keep(key, _typed(value, kind), settings.name)


def _shown(value: Any) -> str:
    return shown(value) if isinstance(value, str) else shown(repr(value))[1:-1]


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        return number and abs(value) < MAX_NUMBER  # so infinity and NaN are none
    if kind == TEXTS:
        kind = tuple[str, ...] if isinstance(value, list) else str
    if kind in (bool, str):
        return isinstance(value, kind)
    item, length = tuple_items(kind)
    return isinstance(value, list) and length in (None, len(value)) and all(_fits(part, item) for part in value)


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        item = str if kind == TEXTS else tuple_items(kind)[0]
        return tuple(_typed(part, item) for part in value)
    return float(value) if kind is float else value
