"""Parses the body of POST /v1/completions: the prompt becomes the one message of a chat request."""

from claude_openai.protocol.openai.chat.request import read_chat_request
from claude_openai.protocol.openai.completions.fields import CHAT_FIELDS, COMPLETIONS_FIELDS
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.request_body import checked_fields

__all__ = ["parse_completions_request"]


def parse_completions_request(body: bytes, catalog: ModelCatalog) -> TurnRequest:
    """Read and check a request body.

    Raises:
        BadRequest: with the field at fault in `param`.
        ModelNotFound: the model is not in the catalog.
    """
    fields = checked_fields(load_object(body), COMPLETIONS_FIELDS, "prompt", "Send a text.")
    (text,) = fields["prompt"] if isinstance(fields["prompt"], list) else [fields["prompt"]]
    chat = {name: value for name, value in fields.items() if name in CHAT_FIELDS}
    return read_chat_request({**chat, "messages": [{"role": "user", "content": text}]}, len(body), catalog)
