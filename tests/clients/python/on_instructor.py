"""instructor, in each way it asks for a form. It gives objects, never text."""

from collections.abc import Iterable

import instructor
from cases import DESCRIBE, MODEL, NO_MODEL, POPULATION, SLOW_DOWN, WEATHER, raises_that, responses, run
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


def structured_by_a_tool():
    describes(instructor.Mode.TOOLS)


def structured_by_a_schema():
    describes(instructor.Mode.JSON_SCHEMA)


def structured_by_json_mode():
    describes(instructor.Mode.JSON)


def stream():
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        own = instructor.from_openai(client, mode=mode)
        *_, last = own.chat.completions.create_partial(**asked(DESCRIBE), response_model=City)
        assert last.model_dump() == PARIS


def tools():
    found = create(instructor.Mode.PARALLEL_TOOLS, Iterable[weather], WEATHER)
    assert [each.city for each in found] == ["Paris", "Rome"]


def error():
    for fields, said in (({"model": NO_MODEL}, "model_not_found"), ({"prompt": SLOW_DOWN}, "429")):
        with raises_that(Exception, said):
            create(instructor.Mode.TOOLS, City, **fields)


@responses
def responses_structured():
    describes(instructor.Mode.RESPONSES_TOOLS)


run(structured_by_a_tool, structured_by_a_schema, structured_by_json_mode, stream, tools, error, responses_structured)
