#!/usr/bin/env bash
# Stage 1: data.sh OUT "TRAIN PARTS" "OTHER PARTS" makes OUT/train and OUT/<part> for the others. The first folder below a
# part is the speaker.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: data.sh OUT 'TRAIN PARTS' 'OTHER PARTS'" >&2; exit 2; }
out=$1
read -ra train <<<"$2"
read -ra others <<<"$3"

for part in "${train[@]}" "${others[@]}"; do
    [ -d "corpus/$part" ] || { echo "corpus/$part is missing; run stage 0" >&2; exit 1; }
done
for part in "${others[@]}"; do
    audiocodec make-data "corpus/$part" "$out/$part"
done

# Several parts become one set: their tables put together, sorted as one.
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
for part in "${train[@]}"; do
    audiocodec make-data "corpus/$part" "$parts/$part"
done
mkdir -p "$out/train"
for table in wav.scp utt2spk utt2num_samples; do
    LC_ALL=C sort "$parts"/*/"$table" >"$out/train/$table"
done
