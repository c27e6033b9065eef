#!/usr/bin/env bash
# Stage 0: download.sh JOBS puts the recordings of each voice of voices.txt at corpus/<voice>, as 16 kHz mono FLAC. A voice that
# is there is left alone. Empty files, tones and silences are left out.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: download.sh JOBS" >&2; exit 2; }
jobs=$1
no_speech='^silence/|^(beep|beeperr|ascending-2tone|descending-2tone|tt-monkeys|conf-silence)\.'

decode() { # decode FOLDER OUT: every recording below FOLDER, the tree kept
    local folder=$1 out=$2
    (cd "$folder" && find . \( -name '*.g722' -o -name '*.wav' \) ! -empty -printf '%P\n') | { grep -Ev "$no_speech" || true; } |
        sort >"$out.list"
    sed -n 's|/[^/]*$||p' "$out.list" | sort -u | while IFS= read -r inside; do mkdir -p "$out/$inside"; done
    # shellcheck disable=SC2016  # expanded by the inner shell
    xargs -a "$out.list" -d '\n' -P "$jobs" -I '{}' sh -c \
        'ffmpeg -nostdin -v error -i "$1/$3" -ac 1 -ar 16000 "$2/${3%.*}.flac"' sh "$folder" "$out" '{}'
    rm "$out.list"
}

for tool in apt-get dpkg ffmpeg; do
    command -v "$tool" >/dev/null || { echo "download.sh: $tool is not installed" >&2; exit 1; }
done
mkdir -p corpus
rm -rf corpus/*.tmp corpus/*.tmp.list
grep -v '^#' "$(dirname "$0")/voices.txt" | while read -r voice package folder; do
    if [ -d "corpus/$voice" ]; then
        echo "corpus/$voice: is there" >&2
        continue
    fi
    mkdir -p corpus/package.tmp "corpus/$voice.tmp"
    (cd ./corpus/package.tmp && apt-get -qq -o APT::Sandbox::User=root download "$package") </dev/null ||
        { echo "apt-get cannot download $package; is it in the package lists (apt-get update)?" >&2; exit 1; }
    dpkg -x corpus/package.tmp/"$package"_*.deb corpus/package.tmp/files
    decode "corpus/package.tmp/files/$folder" "corpus/$voice.tmp"
    cp "corpus/package.tmp/files/usr/share/doc/$package/copyright" "corpus/$voice.tmp/copyright"
    mv "corpus/$voice.tmp" "corpus/$voice"
    rm -r corpus/package.tmp
    echo "corpus/$voice: $(find "corpus/$voice" -name '*.flac' | wc -l) recordings" >&2
done
