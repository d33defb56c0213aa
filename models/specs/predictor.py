"""`predictor:PACKAGE.MODULE:FACTORY`: whatever has `SamPredictor`'s `set_image` and `predict`, as its authors run it.

    predictor:my_model:build                          my_model.py of the current folder, or of any installed package
    predictor:my_model:build?checkpoint=my.pt&size=b  the factory is called with checkpoint="my.pt", size="b"

The factory returns the predictor; where it takes `device`, it is told which. Files that options name, and the weights
of the predictor's networks, are part of what a run is known by.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError

if TYPE_CHECKING:  # torch takes seconds to import, and a card is made without it
    from models.specs.predictor_segmenter import PredictorSegmenter

FORM = "predictor:PACKAGE.MODULE:FACTORY"


def card(name: str) -> ModelCard:
    """Return the card of predictor:PACKAGE.MODULE:FACTORY; the module is imported.

    Raises:
        BenchError: if there is no such factory.
    """
    module, _, _ = parse(name)
    factory_of(name)
    return ModelCard(
        name=name,
        paper_row=None,
        scale="paper",
        build="models.specs.predictor:build",
        filename=None,
        source=f"{module}, as its authors run it",
        input="as its authors make it",
        spec=name.partition(":")[2],
        code=("models.specs.predictor_segmenter", module),
    )


def build(card: ModelCard, device: str) -> PredictorSegmenter:
    """Call the factory of a card.

    Raises:
        BenchError: if it raises, or returns something else than a predictor.
    """
    from models.specs.predictor_segmenter import wrap

    _, _, options = parse(card.name)
    files = {key: checkpoints.sha256_of(Path(value)) for key, value in options.items() if Path(value).is_file()}
    segmenter = wrap(factory_of(card.name), options, name=card.name, device=device)
    segmenter.identity = {**segmenter.identity, "files": files}
    return segmenter


def parse(name: str) -> tuple[str, str, dict[str, str]]:
    """Return (module, factory, options) of predictor:PACKAGE.MODULE:FACTORY[?KEY=VALUE[&KEY=VALUE...]].

    Raises:
        BenchError: for another form.

    >>> parse("predictor:theirs.sam:build?checkpoint=their.pt&size=b")
    ('theirs.sam', 'build', {'checkpoint': 'their.pt', 'size': 'b'})
    """
    place, question, rest = name.partition(":")[2].partition("?")
    module, _, factory = place.partition(":")
    pairs = [pair.partition("=") for pair in rest.split("&")] if question else []
    if not (module and factory.isidentifier() and all(key.isidentifier() and equals for key, equals, _ in pairs)):
        raise BenchError(f"'{name}' names no factory of predictors: write {FORM}, with options {FORM}?KEY=VALUE")
    return module, factory, {key: value for key, _, value in pairs}


def factory_of(name: str) -> Callable[..., Any]:
    """Import a factory, also from a module of the current folder.

    Raises:
        BenchError: if it cannot be imported, or cannot be called.
    """
    module, factory, _ = parse(name)
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), factory)
    except (Exception, SystemExit) as error:  # other people's code: anything may come out of importing it
        missing = isinstance(error, ModuleNotFoundError | AttributeError)
        way_out = "check the names, and that its package is installed" if missing else "mend that module"
        raise BenchError(f"'{name}' cannot be imported ({type(error).__name__}: {error}): {way_out}") from error
    if not callable(found):
        raise BenchError(f"'{name}' is a {type(found).__name__}, not a function that returns a predictor: write {FORM}")
    return found  # type: ignore[no-any-return]
