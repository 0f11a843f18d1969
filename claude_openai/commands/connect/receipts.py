"""Records of what `connect` wrote to a file, and of the content before, so that `--remove` can undo it.

One file with mode 0600 for each client and configuration file, in `~/.claude-openai/connected`. It has the original
content, which may contain keys. The client's file does not show who wrote a value, or which value it replaced.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from claude_openai.commands.connect.config_files import read_config, replace_config
from claude_openai.commands.connect.documents import MergeRefused
from claude_openai.commands.connect.merging import Written
from claude_openai.commands.state.paths import home_folder
from claude_openai.file_access import make_private_folder

__all__ = ["Receipt", "digest", "load_receipt", "receipt_path", "save_receipt", "with_more"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record of the writes to a file.

    Attributes:
        file: the path of the file.
        is_new: whether the file did not exist before.
        original: the text before, None if the file was changed by others between two writes.
        after: the digest of the text after the last write.
        written: the values that were written.
        folders: the paths of the folders that were made for the file, the innermost first.
    """

    file: str
    is_new: bool
    original: str | None
    after: str
    written: tuple[Written, ...]
    folders: tuple[str, ...] = ()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def receipt_path(client: str, file: Path) -> Path:
    return home_folder() / "connected" / f"{client}-{digest(str(file))[:16]}.json"


def with_more(old: Receipt | None, before: str, new: Receipt) -> Receipt:
    """Return the receipt of a file after another write.

    Args:
        old: the receipt of the earlier writes.
        before: the text of the file before the last write.
        new: the receipt of the last write alone.
    """
    if old is None:
        return new
    new = replace(new, folders=(*new.folders, *(each for each in old.folders if each not in new.folders)))
    if new.is_new or before == old.original:
        return new
    values = {each.path: each for each in old.written}
    for each in new.written:
        known = values.get(each.path)
        if known is not None and each.is_replaced and each.old == known.value:
            values[each.path] = replace(known, value=each.value)
        else:
            values[each.path] = each
    original = old.original if digest(before) == old.after else None
    return replace(new, is_new=old.is_new, original=original, written=tuple(values.values()))


def load_receipt(path: Path) -> Receipt | None:
    """Read the receipt; None if it does not exist.

    Raises:
        MergeRefused: it cannot be read.
    """
    try:
        text = read_config(path).text
        return _receipt(json.loads(text)) if text else None
    except (MergeRefused, ValueError, TypeError, KeyError) as error:
        raise MergeRefused(f"the record of what connect wrote, {path}, is invalid: {error}") from None


def save_receipt(path: Path, receipt: Receipt) -> None:
    """Write the receipt.

    Raises:
        MergeRefused: it cannot be written.
    """
    try:
        make_private_folder(path.parent)
        replace_config(read_config(path), json.dumps(asdict(receipt)), 0o600)
    except (MergeRefused, OSError) as error:
        raise MergeRefused(f"the record that --remove needs, {path}, cannot be written: {error}") from None


def _receipt(found: dict[str, Any]) -> Receipt:
    written: Sequence[dict[str, Any]] = found.pop("written")
    folders = tuple(found.pop("folders", ()))
    values = tuple(Written(**{**each, "path": tuple(each["path"])}) for each in written)
    return Receipt(**found, written=values, folders=folders)
