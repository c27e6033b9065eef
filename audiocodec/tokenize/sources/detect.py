"""Which source an address on the command line is."""

from __future__ import annotations

import os
from collections.abc import Sequence

from audiocodec.errors import CorpusError
from audiocodec.tokenize import storage
from audiocodec.tokenize.sources import folder, kaldi, manifest, parquet, webdataset
from audiocodec.tokenize.sources.base import Files, Listing


def source_of(names: Sequence[str], allow_pipes: bool = False) -> Listing | Files:
    """The source that names stand for.

    Args:
        names: one folder, list or manifest; or any number of tars or Parquet files, with globs and brace ranges.
        allow_pipes: take commands in `wav.scp`.

    Raises:
        CorpusError: nothing there, or several names that are not all tars or all Parquet files.
    """
    for extensions, make in ((webdataset.EXTENSIONS, webdataset.source), (parquet.EXTENSIONS, parquet.source)):
        if all(name.lower().endswith(extensions) for name in names):
            return make(storage.expand(names))
    if len(names) > 1:
        raise CorpusError(f"{', '.join(names[:3])}: several sources must all be tars (.tar) or all Parquet (.parquet)")
    name = names[0]
    if name.lower().endswith(manifest.EXTENSIONS):
        return manifest.source(name)
    if name.endswith(".scp") or os.path.isfile(os.path.join(name, "wav.scp")):
        return kaldi.source(name, allow_pipes)
    if storage.is_remote(name) or os.path.isdir(name):
        return folder.source(name)
    what = "is not a source of a known kind" if os.path.exists(name) else "no such file or folder"
    raise CorpusError(f"{name}: {what}; need a folder, wav.scp, .jsonl manifest, .tar or .parquet files")
