"""Write a client's configuration to its file, and remove it again."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from claude_openai.commands.connect.client_texts import Target
from claude_openai.commands.connect.clients import Client
from claude_openai.commands.connect.config_files import (
    ConfigFile,
    missing_folders,
    read_config,
    remove_config,
    remove_folders,
    replace_config,
)
from claude_openai.commands.connect.documents import Form, rewrite
from claude_openai.commands.connect.json_text import JSON
from claude_openai.commands.connect.merging import Keys, Written, merge, unmerge
from claude_openai.commands.connect.receipts import (
    Receipt,
    digest,
    load_receipt,
    receipt_path,
    save_receipt,
    with_more,
)
from claude_openai.commands.connect.toml_text import TOML
from claude_openai.commands.connect.yaml_text import YAML

__all__ = ["Outcome", "disconnect", "merged", "write_client"]

_FORMS: Final[dict[str, Form]] = {"json": JSON, "toml": TOML, "yaml": YAML}


@dataclass(slots=True)
class Outcome:
    """The changes of a file; with `dry`, the changes that would be made.

    Attributes:
        file: the path of the file, of the target for a symbolic link.
        before: the old text.
        after: the new text; None if the file is removed.
        changes: "added", "changed", "removed", "restored" or "left" -> the paths of the values.
    """

    file: Path
    before: str
    after: str | None
    changes: dict[str, list[Keys]] = field(default_factory=dict)

    @property
    def is_change(self) -> bool:
        return self.after != self.before

    def diff(self) -> str:
        r"""Return a unified diff, with `\ No newline at end of file` where `patch` requires it."""
        old, new = self.before.splitlines(keepends=True), (self.after or "").splitlines(keepends=True)
        lines = difflib.unified_diff(
            old, new, str(self.file), str(self.file) if self.after is not None else "/dev/null"
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def merged(client: Client, text: str, wanted: str) -> tuple[str, list[Written], list[Keys]]:
    """Return the text with the configuration added; the values written; the paths of values that were kept.

    Raises:
        MergeRefused: the text cannot be changed without changing other data.
    """
    form = _FORMS[client.form]
    there = _data(client, form, text)
    ours = _data(client, form, wanted)
    data, written, kept = merge({} if there is None else there, ours, client.own)
    if not written and there is not None:
        return text, [], kept
    return rewrite(form, text, _as_lists(client, data), wanted), written, kept


def write_client(name: str, client: Client, to: Target, path: Path, within: Path | None, *, dry: bool) -> Outcome:
    """Write the configuration.

    Args:
        name: the name of the client.
        client: the client to connect.
        to: the server.
        path: the path of the client's file.
        within: the folder in which the target of a symbolic link must be.
        dry: change no file.

    Raises:
        MergeRefused: the file was not changed.
    """
    old = read_config(path, within)
    before = old.text
    after, written, kept = merged(client, before, client.text(to))
    added = [each.path for each in written if not each.is_replaced]
    changed = [each.path for each in written if each.is_replaced]
    outcome = Outcome(old.path, before, after, {"added": added, "changed": changed, "left": kept})
    if outcome.is_change and not dry:
        record = receipt_path(name, old.path)
        folders = missing_folders(old.path)
        new = Receipt(str(old.path), old.status is None, before, digest(after), tuple(written), folders)
        # Before the file, so that every write can be undone. If the write fails, undoing it changes nothing.
        save_receipt(record, with_more(load_receipt(record), before, new))
        replace_config(old, after)
    return outcome


def disconnect(name: str, client: Client, path: Path, within: Path | None, *, dry: bool) -> Outcome | None:
    """Remove the values that `write_client` wrote, except for those that were changed since.

    Returns:
        The changes; None if there is no record of a write.

    Raises:
        MergeRefused: the file was not changed.
    """
    old = read_config(path, within)
    record = receipt_path(name, old.path)
    receipt = load_receipt(record)
    if receipt is None:
        return None
    outcome = _undone(client, old, receipt)
    if not dry:
        if outcome.after is None and old.status is not None:
            remove_config(old)
        elif outcome.is_change and outcome.after is not None:
            replace_config(old, outcome.after)
        if outcome.after is None:
            remove_folders(receipt.folders)
        record.unlink(missing_ok=True)
    return outcome


def _undone(client: Client, old: ConfigFile, receipt: Receipt) -> Outcome:
    form, before = _FORMS[client.form], old.text
    there = _data(client, form, before)
    result = unmerge({} if there is None else there, receipt.written)
    if digest(before) == receipt.after and receipt.original is not None:
        after = receipt.original
    else:
        after = rewrite(form, before, _as_lists(client, result.data))
    is_empty = after.strip() in ("", "{}", "[]")
    changes = {"removed": result.removed, "restored": result.restored, "left": result.left}
    return Outcome(old.path, before, None if receipt.is_new and is_empty else after, changes)


def _data(client: Client, form: Form, text: str) -> Any:
    data = form.parse(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    return client.items.as_mapping(data) if client.items else data


def _as_lists(client: Client, data: Any) -> Any:
    return client.items.as_list(data) if client.items else data
