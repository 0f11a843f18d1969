// The anthropic package of Node, by its own helpers too.

import assert from 'node:assert/strict'
import Anthropic from '@anthropic-ai/sdk'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import { z } from 'zod'
import {
  BREAK_OFF, BROKEN, CHUNKS, DESCRIBE, HELLO, Heard, MODEL, NO_MODEL, PARIS, REPORTS, SAID, SLOWLY, SLOW_DOWN, TOLD,
  URL, WEATHER, callsToClaude, run,
} from './cases.mjs'

const client = new Anthropic({ baseURL: URL.replace(/\/v1$/, ''), apiKey: 'none', maxRetries: 0 })
const City = z.object({ name: z.string(), population: z.number().int() })
const format = { output_config: { format: zodOutputFormat(City) } }
const input_schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const tools = [{ name: 'weather', description: 'The weather in a city', input_schema }]
const asked = (content) => ({ model: MODEL, max_tokens: 1000, messages: [{ role: 'user', content }] })

async function finishTools(answer) {
  assert.equal(answer.stop_reason, 'tool_use')
  const calls = answer.content.filter((block) => block.type === 'tool_use')
  assert.deepEqual(calls.map((call) => call.input.city), ['Paris', 'Rome'])
  const results = calls.map((call) => {
    return { type: 'tool_result', tool_use_id: call.id, content: REPORTS[call.input.city] }
  })
  const { messages, ...request } = asked(WEATHER)
  const more = [{ role: 'assistant', content: answer.content }, { role: 'user', content: results }]
  const last = await client.messages.create({ ...request, tools, messages: [...messages, ...more] })
  assert.equal(last.content[0].text, TOLD)
}

await run({
  async models() {
    const found = []
    for await (const model of client.models.list()) found.push(model.id)
    assert.ok(found.includes(MODEL))
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL)
  },

  async messages_text() {
    const answer = await client.messages.create(asked(HELLO))
    assert.deepEqual([answer.content[0].text, answer.stop_reason], [SAID, 'end_turn'])
    assert.deepEqual([answer.usage.input_tokens, answer.usage.output_tokens], [10, 5])
    assert.ok(answer._request_id)
  },

  async messages_stream() {
    const heard = new Heard()
    for await (const event of await client.messages.create({ ...asked(SLOWLY), stream: true })) {
      if (event.type === 'content_block_delta') await heard.add(event.delta.text)
    }
    assert.deepEqual(heard.pieces, CHUNKS)
  },

  async messages_tools() {
    await finishTools(await client.messages.create({ ...asked(WEATHER), tools }))
  },

  async messages_stream_tools() {
    await finishTools(await client.messages.stream({ ...asked(WEATHER), tools }).finalMessage())
  },

  async messages_structured() {
    assert.deepEqual((await client.messages.parse({ ...asked(DESCRIBE), ...format })).parsed_output, PARIS)
  },

  async messages_stream_structured() {
    const message = await client.messages.stream({ ...asked(DESCRIBE), ...format }).finalMessage()
    assert.deepEqual(JSON.parse(message.content[0].text), PARIS)
  },

  async messages_error() {
    await assert.rejects(client.messages.create({ ...asked(HELLO), model: NO_MODEL }), Anthropic.NotFoundError)
    await assert.rejects(client.messages.create(asked(SLOW_DOWN)), Anthropic.RateLimitError)
  },

  async messages_error_in_a_stream() {
    let said = ''
    const stream = client.messages.stream(asked(BREAK_OFF)).on('text', (text) => (said += text))
    await assert.rejects(stream.finalMessage(), Anthropic.APIError)
    assert.equal(said, BROKEN)
  },

  async broken_stream_is_not_repeated() {
    await callsToClaude(BREAK_OFF, 1, async () => {
      const stream = client.messages.stream(asked(BREAK_OFF), { maxRetries: 2 })
      await assert.rejects(stream.finalMessage(), Anthropic.APIError)
    })
  },
})
