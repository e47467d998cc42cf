#!/usr/bin/env bash
# daf beside the same network in eager PyTorch (peer.py), measured in turns, and beside compiled runtimes if there are
# any. Prints a table of times and ratios. Nothing else should run on the machine meanwhile.
#
#   PYTHON    a Python with requirements.txt            (python3)
#   DAF_CLI   the program                               (target/debug/daf-cli, as `make build` leaves it)
#   THREADS   threads of all of them                    (2)
#   ROUNDS    turns, each a fresh process of everything (3)
#   REPEATS   measurements per turn, after a warm-up    (5 training steps, ten times as many images)
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

precisions=(float32)
if grep -qwE 'avx512_bf16|amx_bf16|bf16' /proc/cpuinfo; then
    precisions+=(bf16)
else
    echo "skipped: bf16, for which this processor has no instructions"
fi

runtimes=()
for runtime in onnxruntime openvino; do
    if "$python" -c "import onnx, onnxscript, $runtime" 2>/dev/null; then
        runtimes+=("$runtime")
    else
        echo "skipped: $runtime is not installed (benchmarks/requirements-runtimes.txt)"
    fi
done

images=$((10 * repeats))
cached=trainer.feature_cache_mb=1024 # the teacher's features of a batch are computed in the warm-up, then kept
for ((round = 1; round <= rounds; round++)); do
    peer training_step "$repeats"
    for precision in "${precisions[@]}"; do
        daf training_step "$repeats" "$precision"
        daf training_step "$repeats" "$precision" --set "$cached"
    done
    peer score "$images"
    for precision in "${precisions[@]}"; do
        daf score "$repeats" "$precision" # of single images it takes ten times as many itself
    done
    for runtime in "${runtimes[@]}"; do
        peer "$runtime" "$images" --onnx "$work/daf.onnx"
        if [[ $runtime == openvino && ${#precisions[@]} == 2 ]]; then
            peer openvino "$images" --onnx "$work/daf.onnx" --precision bf16
        fi
    done
done
note

"$python" benchmarks/table.py "$results"
