"""Typed values with the place each was set, and the problems met on the way; at the end a `Config`."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

from audiocodec.config.checks import check
from audiocodec.config.schema import Config
from audiocodec.config.values import field_types
from audiocodec.errors import ConfigError


@dataclass
class Settings:
    """What the sources of one configuration set; a later source wins, key by key."""

    name: str  # of the file the user named, for problems that belong to no line
    values: dict[str, Any] = field(default_factory=dict)  # dotted key -> typed value
    origins: dict[str, str] = field(default_factory=dict)  # dotted key or section -> file:line or --set
    mistyped: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def keep(self, key: str, value: Any, where: str) -> None:
        """Set a key, found at `where`."""
        self.origins.pop(key, None)  # so that the order of origins is the order of setting
        self.values[key], self.origins[key] = value, where

    def problem(self, where: str, message: str) -> None:
        """Note a problem at `where`."""
        self.problems.append(f"{where}: {message}")

    def finish(self) -> Config:
        """Build the configuration and run its cross-checks.

        Returns:
            The configuration.

        Raises:
            ConfigError: with every problem, one a line.
        """
        config: Config = self._build(Config, "")
        for key, message in check(config):
            if not self._follows_from_mistyped(key, message):
                self.problem(self._origin(key, message), f"{key}: {message}")
        if self.problems:
            raise ConfigError("\n".join(self.problems))
        return config

    def _build(self, cls: Any, prefix: str) -> Any:
        section = cls()
        for name, kind in field_types(cls).items():
            key = prefix + name
            if is_dataclass(kind):
                section = replace(section, **{name: self._build(kind, key + ".")})
            elif key in self.values:
                section = replace(section, **{name: self.values[key]})
        return section

    def _follows_from_mistyped(self, key: str, message: str) -> bool:
        """Whether a cross-check may have failed only because a mistyped value was left at its default."""
        return key in self.mistyped or any(_last(other) in message for other in self.mistyped)

    def _origin(self, key: str, message: str) -> str:
        """Where a key was set; if it was not, another that the message names, its section, or the file."""
        if key not in self.values:
            named = [other for other in self.origins if other in self.values and _last(other) in message]
            key = named[-1] if named else key
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins.get(key, self.name)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
