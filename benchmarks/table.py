#!/usr/bin/env python3
"""The table of run.sh: times of peer and daf, and by how much daf is faster.

A ratio is taken within each round, of the medians of two processes that ran one after the other; the table has the
median of the rounds' ratios and, behind it, the least and the largest.
"""

import json
import statistics
import sys

NAMES = {"training_step": "training step, batch 8", "score": "inference, one image"}


def measurements(file):
    """Per kind of measurement a list of rounds, each a list of times in ms."""
    found, records = {}, []
    with open(file) as lines:
        for line in lines:
            record = json.loads(line)
            records.append(record)
            if "stages" not in record:
                found.setdefault(("peer", record["what"], record["precision"]), []).append(record["ms"])
                continue
            precision = record["precision"]
            if any(setting.startswith("trainer.feature_cache_mb=") for setting in record["settings"]):
                precision += ", teacher cached"
            for stage in record["stages"]:
                found.setdefault(("daf", stage["stage"], precision), []).append(stage["ms"])
    return found, records


def times(rounds):
    values = sorted(value for ms in rounds for value in ms)
    middle = statistics.median(values)
    # From the 10th to the 90th percentile: the extremes are the machine's, not the program's.
    low, high = values[len(values) // 10], values[-1 - len(values) // 10]
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def ratio(peer, daf):
    ratios = sorted(statistics.median(a) / statistics.median(b) for a, b in zip(peer, daf))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main():
    found, records = measurements(sys.argv[1])
    rows = [("256×256, ms: median (10 % to 90 %)", "precision", "peer, float32", "daf", "peer / daf")]
    for (who, what, precision), rounds in found.items():
        if who == "daf" and (peer := found.get(("peer", what, "float32"))):
            rows.append((NAMES[what], precision, times(peer), times(rounds), ratio(peer, rounds)))
    others = [("against a compiled runtime", "precision", "runtime", "daf", "runtime / daf")]
    for (who, what, precision), rounds in found.items():
        if who == "peer" and what not in NAMES and (daf := found.get(("daf", "score", precision))):
            others.append((f"inference, {what}", precision, times(rounds), times(daf), ratio(rounds, daf)))
    tables = [rows] + ([others] if len(others) > 1 else [])
    widths = [max(len(row[column]) for row in rows + others) for column in range(len(rows[0]))]
    for table in tables:
        print()
        for row in table:
            left = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
            right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
            print("  ".join(left + right))
    if hardware := next((record["hardware"] for record in records if "hardware" in record), None):
        print(f"\n{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads, libtorch {hardware['libtorch']}")
    for record in records:
        if record.get("error") and record["what"] == "openvino" and record["precision"] == "bf16":
            print(f"OpenVINO in bf16: maps differ from float32 by up to {100 * record['error']:.1f} % of their largest value")
            break


if __name__ == "__main__":
    main()
