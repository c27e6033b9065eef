"""The description that package indexes show: README.md with links that work there. Everything else is in setup.cfg."""

import configparser
import re
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
metadata = configparser.ConfigParser()
metadata.read(here / "setup.cfg", encoding="utf-8")
files = metadata["metadata"]["url"] + "/blob/main/"
readme = (here / "README.md").read_text(encoding="utf-8")
setup(long_description=re.sub(r"(\]\()(?!https?:|#)([^)]+\))", rf"\1{files}\2", readme))
