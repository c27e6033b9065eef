#!/usr/bin/env bash
# LibriTTS (OpenSLR 60, arXiv 1904.02882, CC BY 4.0): 24 kHz read English. The default is train-clean-100 (7.7 GB to download);
# for everything: --train-parts "train-clean-100 train-clean-360 train-other-500". run.sh --help lists the options.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh
. ../../../recipes/codec.sh
. ./cmd.sh

url=https://www.openslr.org/resources/60  # where the archives are
md5sums=local/md5sums.txt                 # what they must be
train_parts="train-clean-100"             # parts that make the set train
valid_set=dev-clean
test_sets="test-clean"
. ../../../recipes/utils/parse_options.sh

read -ra train <<<"$train_parts"
read -ra others <<<"$valid_set $test_sets"
DOWNLOAD_OPTIONS=("$url" "$md5sums" "${train[@]}" "${others[@]}")
DATA_OPTIONS=("${train[*]}" "${others[*]}")
run_stages "$@"
