#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the fuzz targets with clang and runs each from seeds made of the fixtures; ends with the first finding.
#   tests/fuzz/run.sh [-n EXECUTIONS] [-s SANITIZERS] [-b FOLDER] [TARGET...]
# EXECUTIONS of each target (100000), SANITIZERS as for meson's b_sanitize (address,undefined; undefined alone is
# several times as fast), FOLDER for the build and the corpora (build-fuzz), which later runs begin from.
set -eu
cd "$(dirname "$0")/../.."

executions=100000
sanitizers=address,undefined
folder='build-fuzz'
usage() {
    sed -n '3,7s/^# \{0,1\}//p' tests/fuzz/run.sh
}
case ${1:-} in
-h | --help)
    usage
    exit
    ;;
esac
while getopts n:s:b: option; do
    case $option in
    n) executions=$OPTARG ;;
    s) sanitizers=$OPTARG ;;
    b) folder=$OPTARG ;;
    *)
        usage
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- adapter config encode families gguf index json llama2c pieces safetensors template tokenizer_json

build=$folder/$sanitizers
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzz=true --buildtype=release -Db_lundef=false \
    -Db_sanitize="$sanitizers" \
    -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer -gline-tables-only'
python3 tests/fuzz/seeds.py "$folder/seeds"
for target; do
    ninja -C "$build" "tests/fuzz/fuzz_$target"
done
for target; do
    mkdir -p "$folder/corpus/$target" "$folder/seeds/$target" "$folder/findings"
    words=$folder/seeds/$target.dict # some have none
    [ -f "$words" ] || words=
    echo "fuzz_$target, $executions executions:"
    "$build/tests/fuzz/fuzz_$target" "$folder/corpus/$target" "$folder/seeds/$target" \
        -runs="$executions" -max_len=4096 -timeout=60 -rss_limit_mb=1024 -reload=0 -verbosity=0 -print_final_stats=1 \
        ${words:+-dict="$words"} -artifact_prefix="$folder/findings/$target-"
done
