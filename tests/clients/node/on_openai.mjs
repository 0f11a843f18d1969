// The openai package of Node, by its own helpers too.

import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import {
  BREAK_OFF, CHUNKS, DESCRIBE, HELLO, MODEL, NO_MODEL, PARIS, REPORTS, SAID, SLOW_DOWN, TOLD, WEATHER, run,
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
    const request = { ...asked(HELLO), stream: true, stream_options: { include_usage: true } }
    const chunks = await collect(await client.chat.completions.create(request))
    assert.deepEqual(chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean), CHUNKS)
    assert.equal(chunks.at(-1).usage.total_tokens, 15)
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
    assert.equal(said, 'One two ')
  },

  async responses_text() {
    const answer = await client.responses.create({ model: MODEL, input: HELLO })
    assert.equal(answer.output_text, SAID)
    assert.equal(answer.usage.total_tokens, 15)
  },

  async responses_stream() {
    const stream = client.responses.stream({ model: MODEL, input: HELLO })
    const deltas = (await collect(stream)).filter((event) => event.type === 'response.output_text.delta')
    assert.deepEqual(deltas.map((event) => event.delta), CHUNKS)
    assert.equal((await stream.finalResponse()).output_text, SAID)
  },

  async responses_tools() {
    const request = { model: MODEL, tools: [{ type: 'function', ...tool, strict: true }] }
    const input = [{ role: 'user', content: WEATHER }]
    const first = await client.responses.create({ ...request, input })
    const calls = first.output.filter((item) => item.type === 'function_call')
    const cities = calls.map((call) => JSON.parse(call.arguments).city)
    assert.deepEqual(cities, ['Paris', 'Rome'])
    const results = calls.map(({ call_id }, i) => {
      return { type: 'function_call_output', call_id, output: REPORTS[cities[i]] }
    })
    const last = await client.responses.create({ ...request, input: [...input, ...first.output, ...results] })
    assert.equal(last.output_text, TOLD)
  },

  async responses_structured() {
    const text = { format: zodTextFormat(City, 'city') }
    assert.deepEqual((await client.responses.parse({ model: MODEL, input: DESCRIBE, text })).output_parsed, PARIS)
  },

  async responses_error() {
    await assert.rejects(client.responses.create({ model: NO_MODEL, input: HELLO }), OpenAI.NotFoundError)
  },
})
