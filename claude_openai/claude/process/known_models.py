"""Updates the catalog of models from the records of Claude Code's processes, without starting one.

Each process answers `initialize` with the models that it offers, and each result has the limits of the used models. So
a new Claude Code brings its models without a release of this server.

Only a process with the account's own login and settings knows the account's models. The list depends on the provider
(Bedrock and Vertex AI have their own ids) and on `additionalModelOptionsCache` in the user's `.claude.json` (2.1.332;
`tests/real/claude/process/test_models.py`). The probes of `priming` have neither: they list the models of their version
for an API key. That is better than the table, and available before the first turn, which may name a new model. So a
probe's answer is used until a process of the account has answered, and ignored after that.
"""

from collections.abc import Mapping
from typing import Any

from claude_openai.logs.log import Log
from claude_openai.protocol.wire.model_records import read_limits, read_models
from claude_openai.protocol.wire.models import ModelCatalog

__all__ = ["KnownModels"]


class KnownModels:
    """Owns the current catalog, and replaces it when records report more.

    Args:
        catalog: the initial catalog.
        log: records the names of added models.
    """

    def __init__(self, catalog: ModelCatalog, log: Log) -> None:
        self._catalog = catalog
        self._log = log
        self._account_known = False
        self._unreadable = False

    def catalog(self) -> ModelCatalog:
        """Return the current catalog."""
        return self._catalog

    def note(self, record: Mapping[str, Any], *, started_with: str, of_account: bool = True) -> None:
        """Update the catalog from a record of Claude Code; ignore records without models. Raises nothing.

        Args:
            record: as parsed from its output.
            started_with: the model of the process.
            of_account: the process has the login and the settings of the account, not those of a probe.
        """
        if self._account_known and not of_account:
            return
        match record:
            case {"type": "control_response", "response": {"response": {"models": listed}}}:
                models = read_models(listed)
                if models is None:
                    self._note_unreadable(listed)
                else:
                    self._account_known = of_account
                    self._replace(self._catalog.with_models(models, started_with))
            case {"type": "result", "modelUsage": usage}:
                limits = read_limits(usage)
                # A single entry also has the limits of the requested name, such as `best`, which is not listed.
                named = dict.fromkeys([started_with], *limits.values()) if len(limits) == 1 else {}
                self._catalog = self._catalog.with_limits({**limits, **named})

    def _replace(self, catalog: ModelCatalog) -> None:
        new = [name for name in catalog.listing() if name not in self._catalog.listing()]
        self._catalog = catalog
        if new:
            self._log.debug("models.added", models=new)

    def _note_unreadable(self, listed: object) -> None:
        if not self._unreadable:
            self._log.debug("models.unreadable", kind=type(listed).__name__)
        self._unreadable = True
