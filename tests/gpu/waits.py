"""Every wait of the CPU for the GPU that there may be, and what for."""

STATED: dict[str, str] = {
    "models/sam/segmenter.py:segment item": "weights that answer NaN are refused before a mask is made of it",
    "models/efficientsam/segmenter.py:segment item": "likewise",
    "protocols/answers.py:_answer to cpu": "the masks; and confidence with choice in one copy",
    "protocols/answers.py:_pick to cpu": "all candidates, where boxes or the truth choose among them",
}
