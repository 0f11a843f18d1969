"""All fields of OpenAI's create-completion. The common ones are taken from chat completions."""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.protocol.openai.chat.fields import FIELDS, NOTHING_LIKE_IT
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.field_types import Field, Use, boolean, form, integer, only, string

__all__ = ["CHAT_FIELDS", "COMPLETIONS_FIELDS"]

_TEXT: Final = {"type": "string", "pattern": "\\S"}


@form({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1}]})
def _prompt(param: str, value: Any) -> None:
    if not isinstance(value, (str, list)):
        raise wrong_type(param, "a text", value)
    texts = value if isinstance(value, list) else [value]
    if any(isinstance(part, (int, list)) for part in texts):
        raise unsupported_value(param, "Tokens are not supported, only text. Send a string.")
    if len(texts) > 1:
        raise unsupported_value(param, "Only one prompt per request is supported. Send one, or several requests.")
    for text in texts:
        string()(f"{param}[0]", text)
    if not "".join(texts).strip():
        raise wrong_value(param, "a text with some visible character")


CHAT_FIELDS: Final = (
    *("model", "stream", "stream_options", "max_tokens", "stop", "user", "claude", "n"),
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logit_bias"),
)

COMPLETIONS_FIELDS: Final[Mapping[str, Field]] = {
    "prompt": Field(Use.HONOURED, _prompt),
    **{name: FIELDS[name] for name in CHAT_FIELDS},
    "best_of": FIELDS["n"],
    "echo": Field(Use.REFUSED, only(boolean, (False,), NOTHING_LIKE_IT)),
    "suffix": Field(Use.REFUSED, only(string(), ("",), NOTHING_LIKE_IT)),
    "logprobs": Field(Use.REFUSED, only(integer(0, 5), (), NOTHING_LIKE_IT)),  # 0 asks for those of the chosen tokens
}
