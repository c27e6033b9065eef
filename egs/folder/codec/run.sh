#!/usr/bin/env bash
# Train and score a codec on any folder of audio: run.sh --audio DIR. run.sh --help lists the options.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh
. ../../../recipes/codec.sh
. ./cmd.sh

audio=            # folder of audio: wav, flac, ogg, mp3, ... (a relative path counts from this folder)
speaker_level=0   # which folder below it names the speaker: 1 the first, ...; 0: not known
by_speaker=false  # keep the recordings of a speaker in one of train, dev and test; needs --speaker-level
dev_share=0.05    # share of the recordings (or speakers) kept for validation
test_share=0.05   # share kept for scoring
min_seconds=0.5   # leave out shorter recordings
skip_bad=false    # go on although files cannot be read; each is named
. ../../../recipes/utils/parse_options.sh

DOWNLOAD_OPTIONS=("$audio")
DATA_OPTIONS=("$audio" --speaker-level "$speaker_level" --min-seconds "$min_seconds" --dev-share "$dev_share"
    --test-share "$test_share")
[ "$by_speaker" = false ] || DATA_OPTIONS+=(--by-speaker)
[ "$skip_bad" = false ] || DATA_OPTIONS+=(--skip-bad)
run_stages "$@"
