"""Keeps the catalog of models up to date with what Claude Code tells of them in passing, at no cost.

Each process answers `initialize` with the models that it offers, and each result has the limits of the models that were
used. So a new Claude Code brings its models without a release of this server.

What counts is what a process of the account tells. The list depends on the provider (Bedrock and Vertex AI have ids of
their own), and on `additionalModelOptionsCache` in the user's `.claude.json`, which adds models of the account (both
2.1.332). A process that is started against a stand-in to learn Claude Code's notes has none of these, only the names
that its version brings. They are taken until a process of the account tells more: that is later than the first request,
which may name one of them.
"""

from collections.abc import Mapping
from typing import Any

from claude_openai.logs.log import Log
from claude_openai.protocol.model_records import read_limits, read_models
from claude_openai.protocol.models import ModelCatalog

__all__ = ["KnownModels"]


class KnownModels:
    """Owns the catalog, which is replaced and never changed.

    Args:
        catalog: what is known at the start.
        log: told of models that are new.
    """

    def __init__(self, catalog: ModelCatalog, log: Log) -> None:
        self._catalog = catalog
        self._log = log
        self._account_told = False
        self._unreadable = False

    def catalog(self) -> ModelCatalog:
        """The models as they are known now."""
        return self._catalog

    def note(self, record: Mapping[str, Any], *, started_with: str, of_account: bool = True) -> None:
        """Learn from any record of Claude Code; it never fails.

        Args:
            record: as it was read.
            started_with: the model of the process.
            of_account: the process has the login and the settings of the account.
        """
        if self._account_told and not of_account:
            return
        match record:
            case {"type": "control_response", "response": {"response": {"models": listed}}}:
                models = read_models(listed)
                if models is None:
                    self._note_unreadable(listed)
                else:
                    self._account_told = of_account
                    self._take(self._catalog.with_models(models, started_with))
            case {"type": "result", "modelUsage": usage}:
                limits = read_limits(usage)
                # Where it is the only one, it is also what the name stands for: `best` is in no list.
                named = dict.fromkeys([started_with], *limits.values()) if len(limits) == 1 else {}
                self._catalog = self._catalog.with_limits({**limits, **named})

    def _take(self, catalog: ModelCatalog) -> None:
        new = [name for name in catalog.listing() if name not in self._catalog.listing()]
        self._catalog = catalog
        if new:
            self._log.debug("models.learnt", models=new)

    def _note_unreadable(self, listed: object) -> None:
        if not self._unreadable:
            self._log.debug("models.unreadable", kind=type(listed).__name__)
        self._unreadable = True
