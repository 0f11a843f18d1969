// The Vercel AI SDK, with its openai-compatible provider, with both APIs of its openai provider, and with its anthropic
// provider.

import assert from 'node:assert/strict'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, Output, generateObject, generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import {
  BREAK_OFF, BROKEN, CHUNKS, DESCRIBE, HELLO, Heard, MODEL, NO_MODEL, PARIS, REPORTS, SAID, SLOWLY, SLOW_DOWN, TOLD,
  URL, WEATHER, callsToClaude, run,
} from './cases.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false

const settings = { name: 'claude', baseURL: URL, apiKey: 'none', includeUsage: true, supportsStructuredOutputs: true }
const compatible = createOpenAICompatible(settings)
const openai = createOpenAI({ baseURL: URL, apiKey: 'none' })
const anthropic = createAnthropic({ baseURL: URL, apiKey: 'none' })
const City = z.object({ name: z.string(), population: z.number().int() })
const tools = {
  weather: tool({
    description: 'The weather in a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => REPORTS[city],
  }),
}

function casesOf(provider) {
  const asked = (prompt, model = MODEL) => ({ model: provider(model), prompt, maxRetries: 0 })
  const cities = (steps) => steps[0].toolCalls.map((call) => call.input.city)
  return {
    async text() {
      const { text, finishReason, usage } = await generateText(asked(HELLO))
      assert.deepEqual([text, finishReason, usage.totalTokens], [SAID, 'stop', 15])
    },

    async stream() {
      const result = streamText(asked(SLOWLY))
      const heard = new Heard()
      for await (const piece of result.textStream) await heard.add(piece)
      assert.deepEqual(heard.pieces, CHUNKS)
      assert.equal(await result.finishReason, 'stop')
      assert.equal((await result.usage).totalTokens, 15)
    },

    async tools() {
      const { text, steps } = await generateText({ ...asked(WEATHER), tools, stopWhen: stepCountIs(3) })
      assert.deepEqual(cities(steps), ['Paris', 'Rome'])
      assert.equal(steps[0].finishReason, 'tool-calls')
      assert.equal(text, TOLD)
    },

    async stream_tools() {
      const result = streamText({ ...asked(WEATHER), tools, stopWhen: stepCountIs(3) })
      await result.consumeStream()
      assert.deepEqual(cities(await result.steps), ['Paris', 'Rome'])
      assert.equal(await result.text, TOLD)
    },

    async structured() {
      const { output } = await generateText({ ...asked(DESCRIBE), output: Output.object({ schema: City }) })
      assert.deepEqual(output, PARIS)
      assert.deepEqual((await generateObject({ ...asked(DESCRIBE), schema: City })).object, PARIS)
    },

    async stream_structured() {
      const result = streamText({ ...asked(DESCRIBE), output: Output.object({ schema: City }) })
      let last
      for await (last of result.partialOutputStream);
      assert.deepEqual(last, PARIS)
      assert.deepEqual(await result.output, PARIS)
    },

    async error() {
      for (const [request, status] of [[asked(HELLO, NO_MODEL), 404], [asked(SLOW_DOWN), 429]]) {
        await assert.rejects(generateText(request), (error) => {
          return APICallError.isInstance(error) && error.statusCode === status && !/^Not Found$/.test(error.message)
        })
      }
    },

    async error_in_a_stream() {
      const parts = []
      const result = streamText({ ...asked(BREAK_OFF), onError() {} })
      for await (const part of result.fullStream) parts.push(part)
      assert.equal(parts.filter((part) => part.type === 'text-delta').map((part) => part.text).join(''), BROKEN)
      assert.ok(parts.some((part) => part.type === 'error'))
    },

    // Without a stream it repeats every 5xx, whatever the server says of that.
    async broken_stream_is_not_repeated() {
      const request = { ...asked(BREAK_OFF), maxRetries: 2, onError() {} }
      await callsToClaude(BREAK_OFF, 1, () => streamText(request).consumeStream())
    },
  }
}

function named(prefix, cases) {
  return Object.fromEntries(Object.entries(cases).map(([name, body]) => [prefix + name, body]))
}

await run({
  ...named('compatible_', casesOf((model) => compatible(model))),
  ...named('openai_chat_', casesOf((model) => openai.chat(model))),
  ...named('responses_', casesOf((model) => openai(model))),
  ...named('messages_', casesOf((model) => anthropic(model))),
})
