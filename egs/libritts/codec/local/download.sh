#!/usr/bin/env bash
# Stage 0: download.sh URL MD5SUMS PART... puts LibriTTS/PART at corpus/PART. Archives that are downloaded and parts that are
# unpacked are left alone; an archive is deleted once its part is there.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: download.sh URL MD5SUMS PART..." >&2; exit 2; }
url=$1
md5sums=$2
shift 2
tools=$(dirname "$0")/../../../../recipes/utils

mkdir -p corpus
for part in "$@"; do
    if [ -d "corpus/$part" ]; then
        echo "corpus/$part: is there" >&2
        continue
    fi
    md5=$(awk -v name="$part.tar.gz" '$2 == name {print $1}' "$md5sums")
    [ -n "$md5" ] || { echo "$md5sums does not list $part.tar.gz" >&2; exit 2; }
    python3 "$tools/fetch.py" "$url/$part.tar.gz" "corpus/$part.tar.gz" "$md5"
    python3 "$tools/unpack.py" "corpus/$part.tar.gz" "LibriTTS/$part" "corpus/$part"
    rm "corpus/$part.tar.gz"
done
