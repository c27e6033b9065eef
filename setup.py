"""The description that package indexes show: README.md with links that work there. Everything else is in setup.cfg."""

import configparser
import re
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
metadata = configparser.ConfigParser()
metadata.read(here / "setup.cfg", encoding="utf-8")
url = metadata["metadata"]["url"]
readme = (here / "README.md").read_text(encoding="utf-8")
readme = re.sub(r"(!\[[^]]*\]\()(?!https?:)([^)]+\))", rf"\1{url}/raw/main/\2", readme)  # pictures
setup(long_description=re.sub(r"(\]\()(?!https?:|#)([^)]+\))", rf"\1{url}/blob/main/\2", readme))
