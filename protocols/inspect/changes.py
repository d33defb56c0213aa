"""What changed between a stored run and today: weights, data, axes, engine, libraries, code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

UNNAMED = "not named"
"""Stands for what one of the two does not say."""
_OF_MODEL = {"name": "model", "checkpoint_sha256": "weights", "engine": "engine", "device": "device"}
"""What each part of a model's identity is called; of models named PREFIX:REST there may be others."""
_USUAL = {"engine": "exact"}
"""What is meant where an identity does not say it."""
CIRCUMSTANCES = ("python", "platform", "hardware", "threads", "levers", "preload")
"""Parts of a session's provenance that may move a float's last digits, and decide nothing else."""


class Change(NamedTuple):
    """One thing that is not as it was."""

    what: str
    """weights, data, axes, engine, device, model, protocol version, library, code, or a part of `CIRCUMSTANCES`."""
    detail: str
    """Which part of it, empty if it is the whole."""
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}{f' ({self.detail})' if self.detail else ''}: {self.was} -> {self.now}"


def changes(
    stored: Mapping[str, Any],
    now: Mapping[str, Any],
    sessions: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    replaced: Sequence[int] = (),
) -> list[Change]:
    """Return what of all that decides a run's records is not as it was.

    Args:
        stored: the identity of the run.
        now: the identity that the same question has today.
        sessions: provenance of those who wrote the run.
        provenance: of this session.
        replaced: shards whose files hold other bytes than when they were asked about.
    """
    found = [*_of_model(stored, now), *_of_parts("data", stored, now), *_of_parts("axes", stored, now)]
    if stored.get("images") != now.get("images"):
        found.append(Change("data", "images", _text(stored.get("images")), _text(now.get("images"))))
    if replaced:
        which = ", ".join(map(str, replaced[:8])) + (", ..." if len(replaced) > 8 else "")
        found.append(Change("data", f"files of shards {which}", "bytes as they were asked about", "other bytes"))
    if stored.get("version") != now.get("version"):
        found.append(Change("protocol version", "", _text(stored.get("version")), _text(now.get("version"))))
    if stored.get("code") != now.get("code"):
        found += _of_code(stored, now, sessions, provenance)
    return found


def circumstances(sessions: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> list[Change]:
    """Return what else is not as it was in any session: of the machine, and versions that decide no record."""
    found = [*_versions(sessions, provenance)]
    for name in CIRCUMSTANCES:
        here = provenance.get(name)
        others = [there for one in sessions if (there := one.get(name)) is not None and here not in (None, there)]
        for other in others[:1]:
            if isinstance(other, dict) and isinstance(here, dict):
                both = {key: other[key] for key in other if key in here}  # torch's threads are known once it is there
                found += [
                    Change(name, key, _text(was), _text(here[key])) for key, was in both.items() if was != here[key]
                ]
            else:
                found.append(Change(name, "", _text(other), _text(here)))
    return found


def _of_model(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    first, second = ({**_USUAL, **_part(one, "model")} for one in (stored, now))
    for key, was, is_now in _pairs(first, second):
        if key != "custom":  # whose file it is; which weights, the hash says
            yield Change(_OF_MODEL.get(key, "model"), "" if key in _OF_MODEL else key, _text(was), _text(is_now))


def _of_parts(what: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for key, was, is_now in _pairs(_part(stored, what), _part(now, what)):
        yield Change(what, "annotations" if (what, key) == ("data", "sha256") else key, _text(was), _text(is_now))


def _of_code(
    stored: Mapping[str, Any],
    now: Mapping[str, Any],
    sessions: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> list[Change]:
    """Return whether libraries changed or our code or both: their digest is one."""
    libraries = list(_versions(sessions, provenance))
    commits = [one.get("git") for one in sessions]
    here = provenance.get("git")
    same_commit = bool(commits) and here is not None and all(one == here for one in commits) and not _dirty(here)
    if libraries and same_commit:
        return libraries
    digests = (f"{_text(one.get('code'))}{_commit(git)}" for one, git in ((stored, commits[-1:]), (now, [here])))
    return [*libraries, Change("code", "", *digests)]


def _versions(sessions: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the libraries whose version is another than in some session."""
    here = _part(provenance, "versions")
    seen: set[str] = set()
    for session in sessions:
        for name, was, is_now in _pairs(_part(session, "versions"), here):
            if name not in seen and _part(session, "versions"):
                seen.add(name)
                yield Change("library", name, _text(was), _text(is_now))


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, first, second) of what differs, in the order of both."""
    for key in dict.fromkeys([*first, *second]):
        was, is_now = first.get(key, UNNAMED), second.get(key, UNNAMED)
        if _plain(was) != _plain(is_now):
            yield key, was, is_now


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _dirty(git: Any) -> bool:
    return not isinstance(git, dict) or bool(git.get("dirty"))


def _commit(found: Sequence[Any]) -> str:
    git = found[0] if found else None
    if not isinstance(git, dict):
        return ""
    return f" (commit {str(git.get('commit'))[:12]}{', changed' if git.get('dirty') else ''})"


def _text(value: Any) -> str:
    """Return a value in few words; of a hash its beginning."""
    text = str(value)
    return f"{text[:16]}..." if len(text) == 64 and text.isalnum() else text
