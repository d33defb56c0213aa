"""Files whose reading runs code in them: opened if they are the published ones or the user vouches for them.

Trust goes to bytes, not to names: a file is copied where nobody else writes, the copy is hashed, and the copy is read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.cards import ModelCard
from models.errors import BenchError
from models.files.containers import open_container
from models.files.hashes import hash_file
from models.files.pickles import asked_for, runs_code


def vouched_for(files: Iterable[str | Path]) -> frozenset[str]:
    """Return the sha256 of files that a user trusts, as they are now.

    Raises:
        BenchError: if one cannot be read.
    """
    try:
        return frozenset(hash_file(Path(file).expanduser()) for file in files)
    except OSError as error:
        raise BenchError(
            f"--trust '{error.filename}' cannot be read ({error.strerror or error}): check the path"
        ) from error


@contextmanager
def trusted_copy(path: Path, card: ModelCard, trusted: Collection[str] = ()) -> Iterator[Path]:
    """Offer a private copy of a checkpoint whose reading runs code, if it may be read.

    Args:
        path: the checkpoint.
        card: of the model; the file whose hash it has needs no further trust.
        trusted: sha256 of files that the user vouches for.

    Raises:
        BenchError: if the file is neither, or cannot be read or copied.
    """
    if not path.is_file():
        raise BenchError(f"there is no checkpoint '{path}' for model '{card.name}': check the path")
    open_container(path)  # a web page is called one
    with tempfile.TemporaryDirectory(prefix="trusted-") as folder:
        copy = Path(folder) / f"{path.stem}.pt"
        try:
            shutil.copyfile(path, copy)
            digest = hash_file(copy)
        except OSError as error:
            raise BenchError(
                f"'{path}' cannot be copied to '{folder}' ({error.strerror or error}): make room there, or set TMPDIR"
            ) from error
        if digest not in {card.sha256, *trusted}:
            published = "has no published hash" if card.sha256 is None else "is another one than the published"
            names = asked_for(copy)
            unusual = [name for name in names if not name.startswith(("torch.", "ultralytics."))]
            why = f"the checkpoint of '{card.name}' {published} (sha256 {digest})"
            raise runs_code(path, unusual or names, f"{why}, add --trust {path} if you know who made it")
        yield copy
