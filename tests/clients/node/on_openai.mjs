// The openai package of Node, by its own helpers too.

import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import {
  BREAK_DOWN, BREAK_OFF, BROKEN, CHUNKS, DESCRIBE, HELLO, Heard, MODEL, NO_MODEL, PARIS, REPORTS, SAID, SLOWLY, SLOW_DOWN, TOLD,
  WEATHER, callsToClaude, run,
} from './cases.mjs'

const client = new OpenAI({ maxRetries: 0 })
const City = z.object({ name: z.string(), population: z.number().int() })
const parameters = {
  type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false,
}
const tool = { name: 'weather', description: 'The weather in a city', parameters }
const tools = [{ type: 'function', function: tool }]
const asked = (content) => ({ model: MODEL, messages: [{ role: 'user', content }] })

async function collect(items) {
  const found = []
  for await (const item of items) found.push(item)
  return found
}

const runnable = {
  type: 'function',
  function: { ...tool, parse: JSON.parse, function: ({ city }) => REPORTS[city] },
}

async function responsesLoop(answer) {
  const request = { model: MODEL, tools: [{ type: 'function', ...tool, strict: true }] }
  const input = [{ role: 'user', content: WEATHER }]
  const first = await answer({ ...request, input })
  const calls = first.output.filter((item) => item.type === 'function_call')
  const cities = calls.map((call) => JSON.parse(call.arguments).city)
  assert.deepEqual(cities, ['Paris', 'Rome'])
  const results = calls.map(({ call_id }, i) => {
    return { type: 'function_call_output', call_id, output: REPORTS[cities[i]] }
  })
  // What a helper has parsed is not part of an item.
  const output = first.output.map(({ parsed_arguments, ...item }) => item)
  const last = await answer({ ...request, input: [...input, ...output, ...results] })
  assert.equal(last.output_text, TOLD)
}

await run({
  async models() {
    const found = await collect(client.models.list())
    assert.ok(found.some((model) => model.id === MODEL))
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL)
  },

  async text() {
    const answer = await client.chat.completions.create(asked(HELLO))
    assert.equal(answer.choices[0].message.content, SAID)
    assert.equal(answer.choices[0].finish_reason, 'stop')
    assert.equal(answer.usage.total_tokens, 15)
    assert.ok(answer._request_id)
  },

  async stream() {
    const request = { ...asked(SLOWLY), stream: true, stream_options: { include_usage: true } }
    const heard = new Heard()
    let last
    for await (last of await client.chat.completions.create(request)) await heard.add(last.choices[0]?.delta.content)
    assert.deepEqual(heard.pieces, CHUNKS)
    assert.equal(last.usage.total_tokens, 15)
  },

  async stream_helper() {
    const stream = client.chat.completions.stream(asked(HELLO))
    assert.equal((await stream.finalChatCompletion()).choices[0].message.content, SAID)
  },

  async tools() {
    const request = { ...asked(WEATHER), tools }
    const { choices: [choice] } = await client.chat.completions.create(request)
    assert.equal(choice.finish_reason, 'tool_calls')
    const calls = choice.message.tool_calls
    const cities = calls.map((call) => JSON.parse(call.function.arguments).city)
    assert.deepEqual(cities, ['Paris', 'Rome'])
    const results = calls.map((call, i) => ({ role: 'tool', tool_call_id: call.id, content: REPORTS[cities[i]] }))
    const messages = [...request.messages, choice.message, ...results]
    const last = await client.chat.completions.create({ ...request, messages })
    assert.equal(last.choices[0].message.content, TOLD)
  },

  async stream_tools() {
    const runner = client.chat.completions.runTools({ ...asked(WEATHER), tools: [runnable], stream: true })
    assert.equal(await runner.finalContent(), TOLD)
    assert.equal(runner.messages.filter((message) => message.role === 'tool').length, 2)
  },

  async structured() {
    const request = { ...asked(DESCRIBE), response_format: zodResponseFormat(City, 'city') }
    assert.deepEqual((await client.chat.completions.parse(request)).choices[0].message.parsed, PARIS)
  },

  async stream_structured() {
    const request = { ...asked(DESCRIBE), response_format: zodResponseFormat(City, 'city') }
    const streamed = await client.chat.completions.stream(request).finalChatCompletion()
    assert.deepEqual(streamed.choices[0].message.parsed, PARIS)
  },

  async error() {
    await assert.rejects(client.chat.completions.create({ ...asked(HELLO), model: NO_MODEL }), (error) => {
      return error instanceof OpenAI.NotFoundError && error.code === 'model_not_found'
    })
    await assert.rejects(client.chat.completions.create(asked(SLOW_DOWN)), OpenAI.RateLimitError)
  },

  async error_in_a_stream() {
    let said = ''
    await assert.rejects(async () => {
      for await (const chunk of await client.chat.completions.create({ ...asked(BREAK_OFF), stream: true })) {
        said += chunk.choices[0].delta.content ?? ''
      }
    }, OpenAI.APIError)
    assert.equal(said, BROKEN)
  },

  async broken_turn_is_not_repeated() {
    const patient = new OpenAI({ maxRetries: 2 })
    for (const [prompt, stream] of [BREAK_OFF, BREAK_DOWN].flatMap((each) => [[each, true], [each, false]])) {
      await callsToClaude(prompt, 1, () => assert.rejects(async () => {
        const answer = await patient.chat.completions.create({ ...asked(prompt), stream })
        if (stream) await collect(answer)
      }, OpenAI.APIError))
    }
  },

  async responses_text() {
    const answer = await client.responses.create({ model: MODEL, input: HELLO })
    assert.equal(answer.output_text, SAID)
    assert.equal(answer.usage.total_tokens, 15)
  },

  async responses_stream() {
    const stream = client.responses.stream({ model: MODEL, input: SLOWLY })
    const heard = new Heard()
    for await (const event of stream) if (event.type === 'response.output_text.delta') await heard.add(event.delta)
    assert.deepEqual(heard.pieces, CHUNKS)
    assert.equal((await stream.finalResponse()).output_text, SAID)
  },

  async responses_tools() {
    await responsesLoop((request) => client.responses.create(request))
  },

  async responses_stream_tools() {
    await responsesLoop((request) => client.responses.stream(request).finalResponse())
  },

  async responses_structured() {
    const text = { format: zodTextFormat(City, 'city') }
    assert.deepEqual((await client.responses.parse({ model: MODEL, input: DESCRIBE, text })).output_parsed, PARIS)
  },

  async responses_stream_structured() {
    const text = { format: zodTextFormat(City, 'city') }
    const stream = client.responses.stream({ model: MODEL, input: DESCRIBE, text })
    assert.deepEqual((await stream.finalResponse()).output_parsed, PARIS)
  },

  async responses_error() {
    await assert.rejects(client.responses.create({ model: NO_MODEL, input: HELLO }), OpenAI.NotFoundError)
    await assert.rejects(client.responses.create({ model: MODEL, input: SLOW_DOWN }), OpenAI.RateLimitError)
  },

  async responses_error_in_a_stream() {
    let said = ''
    await assert.rejects(async () => {
      for await (const event of await client.responses.create({ model: MODEL, input: BREAK_OFF, stream: true })) {
        if (event.type === 'response.output_text.delta') said += event.delta
      }
    }, OpenAI.APIError)
    assert.equal(said, BROKEN)
  },
})
