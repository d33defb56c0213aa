"""A toy kind of spec: toy:GREY answers every prompt with the pixels darker than GREY."""

from models.cards import ModelCard
from models.errors import BenchError
from models.segmenter import Embedding, Segmentation
from models.specs import Prefix

PREFIX = Prefix("toy:GREY", "what is darker", "tests.models.specs.toys:card")


def card(name):
    grey = name.partition(":")[2]
    if not grey.isdigit():
        raise BenchError(f"'{name}' is no grey: write toy:128")
    return ModelCard(
        name=name, paper_row=None, scale="micro", build="tests.models.specs.toys:build", filename=None, spec=grey
    )


def build(card, device):
    return Darker(int(card.spec))


class Darker:
    def __init__(self, grey):
        import torch

        self.grey, self.device = grey, torch.device("cpu")
        self.checkpoint_sha256, self.identity = None, {"grey": grey}

    def embed(self, images):
        import torch

        return [Embedding(torch.from_numpy(image.mean(2, dtype="float32"))[None], image.shape[:2]) for image in images]

    def segment(self, embedding, prompts, *, multimask=True):
        count = 3 if multimask else 1
        logits = (self.grey - embedding.features)[None].expand(len(prompts), count, -1, -1)
        return Segmentation(logits, logits.new_tensor([0.7, 0.6, 0.5][:count]).expand(len(prompts), -1))

    def masks(self, logits, size):
        return logits > 0
