"""Maps and masks whose scores by PySODMetrics are in golden/saliency.json; run as a script, it writes that file.

PySODMetrics 1.6.2 wants an older numpy than this project, so its numbers are kept: make them again with
`pip install pysodmetrics==1.6.2` in an environment of its own and `python tests/bench/metrics/saliency_cases.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "saliency.json"


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return maps uint8 [H, W] and masks bool [H, W] by name; every map that varies reaches 0 and 255."""
    y, x = np.mgrid[0:48, 0:64]
    disc = np.hypot(x - 30, y - 20) < 12
    soft = np.clip(255 - 9 * np.hypot(x - 33, y - 22), 0, 255).astype(np.uint8)
    bits = np.random.PCG64(7).random_raw(48 * 64)
    noise = (bits % np.uint64(256)).astype(np.uint8).reshape(48, 64)
    corner, dot, last = (np.zeros((48, 64), bool) for _ in range(3))
    corner[:9, :5] = dot[47, 63] = True
    last[40:, 50:] = True
    whole, nothing = np.full((48, 64), 255, np.uint8), np.zeros((48, 64), np.uint8)
    found = {
        "soft": (soft, disc),
        "noise": (noise, disc),
        "inverse": (255 - soft, disc),
        "mask": (np.uint8(255) * (np.hypot(x - 31, y - 20) < 11), disc),
        "exact": (np.uint8(255) * disc, disc),
        "nothing found": (nothing, disc),
        "everything found": (whole, disc),
        "nothing there": (soft, np.zeros((48, 64), bool)),
        "all of it": (soft, np.ones((48, 64), bool)),
        "corner": (noise, corner),
        "in the last corner": (soft, last),
        "one pixel": (noise, dot),
        "one column": (noise[:, :1].copy(), disc[:, 30:31].copy()),
    }
    for saliency, _ in found.values():
        if saliency.min() != saliency.max():
            saliency.flat[0], saliency.flat[1] = 0, 255
    return found


def main() -> None:
    """Score all cases with PySODMetrics and write the file."""
    import py_sod_metrics as reference

    scores = {}
    for name, (saliency, truth) in cases().items():
        measures = {"mae": reference.MAE(), "s": reference.Smeasure(), "f": reference.Fmeasure()}
        for measure in measures.values():
            measure.step(pred=saliency, gt=truth.astype(np.uint8) * np.uint8(255))
        scores[name] = {
            "mae": float(measures["mae"].get_results()["mae"]),
            "s_measure": float(measures["s"].get_results()["sm"]),
            "f_curve": [float(f) for f in measures["f"].get_results()["fm"]["curve"]],
        }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
