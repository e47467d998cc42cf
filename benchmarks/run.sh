#!/usr/bin/env bash
# daf beside the same network in eager PyTorch (peer.py), measured in turns, and beside compiled runtimes if there are
# any. Prints a table of times and ratios. Nothing else should run on the machine meanwhile.
#
#   PYTHON    a Python with requirements.txt            (python3)
#   DAF_CLI   the program                               (target/debug/daf-cli, as `make build` leaves it)
#   THREADS   threads of all of them                    (2)
#   ROUNDS    turns, each a fresh process of everything (3)
#   REPEATS   measurements per turn, after a warm-up    (5 training steps, ten times as many images)
#   CACHED    a setting KEY=VALUE that switches the cache of teacher features on: measured beside the rest
#   RESULTS   a file that keeps the measurements, one JSON object per line
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
daf=${DAF_CLI:-target/debug/daf-cli}
threads=${THREADS:-2} rounds=${ROUNDS:-3} repeats=${REPEATS:-5}
export OMP_NUM_THREADS=$threads

[[ -x $daf ]] || { echo "run.sh: $daf is missing: \`make build\` makes it, or set DAF_CLI" >&2; exit 2; }
"$python" -c 'import torch, sys; sys.exit(not torch.__version__.startswith("2.11.0"))' 2>/dev/null || {
    echo "run.sh: $python has no torch 2.11.0: pip install -r benchmarks/requirements.txt, or set PYTHON" >&2
    exit 2
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
results=${RESULTS:-$work/results.jsonl}
: >"$results"

note() {
    if [[ -t 2 ]]; then printf '\r\033[K%s' "$*" >&2; fi
}

peer() { # WHAT REPEATS [OPTION…]
    note "round $round: peer $*"
    "$python" benchmarks/peer.py "$1" --threads "$threads" --repeats "$2" "${@:3}" >>"$results"
}

daf() { # WHAT REPEATS PRECISION [OPTION…]
    note "round $round: daf $*"
    "$daf" bench benchmarks/pipeline.yaml --only "$1" --threads "$threads" --warmup 3 --repeats "$2" --json \
        --set "precision=$3" "${@:4}" >>"$results"
}

runtimes=()
for runtime in onnxruntime openvino; do
    if "$python" -c "import onnx, onnxscript, $runtime" 2>/dev/null; then
        runtimes+=("$runtime")
    else
        echo "skipped: $runtime is not installed (benchmarks/requirements-runtimes.txt)"
    fi
done

images=$((10 * repeats))
for ((round = 1; round <= rounds; round++)); do
    peer training_step "$repeats"
    daf training_step "$repeats" float32
    daf training_step "$repeats" bf16
    if [[ -n ${CACHED:-} ]]; then
        daf training_step "$repeats" float32 --set "$CACHED"
        daf training_step "$repeats" bf16 --set "$CACHED"
    fi
    peer score "$images"
    daf score "$repeats" float32 # of single images it takes ten times as many itself
    daf score "$repeats" bf16
    for runtime in "${runtimes[@]}"; do
        peer "$runtime" "$images" --onnx "$work/daf.onnx"
        if [[ $runtime == openvino ]]; then peer openvino "$images" --onnx "$work/daf.onnx" --precision bf16; fi
    done
done
note

"$python" benchmarks/table.py "$results"
