#!/bin/sh
# Instructions per event with 10, 1,000 and 100,000 orders resting, by callgrind: the difference of two runs is the events
# (with the few hundred instructions that draw the chance for each), without what filled the book. Then the time, the
# least of seven runs in turn.
set -eu
cd "$(dirname "$0")"
cargo build --release --quiet --bin flat
flat=${CARGO_TARGET_DIR:-target}/release/flat
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$flat" "$1" "$2" 2>&1 | sed -n 's/.*Collected : *//p'
}
for resting in 10 1000 100000; do
    less=$(count $resting 100000)
    more=$(count $resting 300000)
    echo "$resting resting: $(((more - less) / 200000)) instructions an event"
done
for turn in 1 2 3 4 5 6 7; do
    for resting in 10 1000 100000; do
        "$flat" $resting 1000000
    done
done | awk '{ if (!($1 in least) || $3 < least[$1]) least[$1] = $3 }
    END { for (resting = 10; resting <= 100000; resting *= 10) if (resting in least)
        printf "%d resting: %.1f ns an event, %.1f times\n", resting, least[resting], least[resting] / least[10] }'
