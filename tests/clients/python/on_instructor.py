"""instructor, in each way it asks for a form. It gives objects, never text."""

from collections.abc import Iterable

import instructor
from cases import BREAK_OFF, DESCRIBE, MODEL, NO_MODEL, POPULATION, SLOW_DOWN, WEATHER, raises_that, run
from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(max_retries=0)


class City(BaseModel):
    """A city."""

    name: str
    population: int


class weather(BaseModel):  # noqa: N801 - it is the name of the tool
    """The weather in a city."""

    city: str


PARIS = {"name": "Paris", "population": POPULATION}


def asked(prompt):
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_retries": 1}


def create(mode, form, prompt=DESCRIBE, **fields):
    own = instructor.from_openai(client, mode=mode)
    return own.chat.completions.create(**asked(prompt) | fields, response_model=form)


def describes(mode):
    city = create(mode, City)
    assert isinstance(city, City)
    assert city.model_dump() == PARIS


def structured():
    describes(instructor.Mode.JSON_SCHEMA)


def structured_by_a_tool():
    describes(instructor.Mode.TOOLS)


def structured_by_json_mode():
    describes(instructor.Mode.JSON)


def describes_in_a_stream(mode):
    *_, last = partial(mode, DESCRIBE)
    assert last.model_dump() == PARIS


def partial(mode, prompt):
    own = instructor.from_openai(client, mode=mode)
    return own.chat.completions.create_partial(**asked(prompt), response_model=City)


def stream_structured():
    describes_in_a_stream(instructor.Mode.JSON_SCHEMA)


def stream_structured_by_a_tool():
    describes_in_a_stream(instructor.Mode.TOOLS)


def parallel_calls():
    found = create(instructor.Mode.PARALLEL_TOOLS, Iterable[weather], WEATHER)
    assert [each.city for each in found] == ["Paris", "Rome"]


def refused(mode):
    for fields, said in (({"model": NO_MODEL}, "model_not_found"), ({"prompt": SLOW_DOWN}, "429")):
        with raises_that(Exception, said):
            create(mode, City, **fields)


def broken(mode):
    with raises_that(Exception, "Claude broke off its answer"):
        list(partial(mode, BREAK_OFF))


def error():
    refused(instructor.Mode.TOOLS)


def error_in_a_stream():
    broken(instructor.Mode.TOOLS)


def responses_structured():
    describes(instructor.Mode.RESPONSES_TOOLS)


def responses_stream_structured():
    describes_in_a_stream(instructor.Mode.RESPONSES_TOOLS)


def responses_error():
    refused(instructor.Mode.RESPONSES_TOOLS)


def responses_error_in_a_stream():
    broken(instructor.Mode.RESPONSES_TOOLS)


run(structured, structured_by_a_tool, structured_by_json_mode, stream_structured, stream_structured_by_a_tool)
run(parallel_calls, error, error_in_a_stream)
run(responses_structured, responses_stream_structured, responses_error, responses_error_in_a_stream)
