// What the scripts of the clients share: the prompts, what comes back, and how a case tells its result.
// The same as python/cases.py, which says more.

import assert from 'node:assert/strict'

export const URL = process.env.OPENAI_BASE_URL
export const MODEL = 'claude-sonnet'
export const NO_MODEL = 'no-such-model'

export const HELLO = 'Say hello.'
export const CHUNKS = ['Hello, ', 'wide ', 'world.']
export const SAID = 'Hello, wide world.'
export const SLOWLY = 'Say hello slowly.'

export const WEATHER = 'What is the weather in Paris and in Rome?'
export const REPORTS = { Paris: 'sunny', Rome: 'rainy' }
export const TOLD = 'I was told: sunny and rainy.'

export const DESCRIBE = 'Describe Paris.'
export const PARIS = { name: 'Paris', population: 2_100_000 }

export const SLOW_DOWN = 'Slow down.'
export const BREAK_OFF = 'Break off.'
export const BREAK_DOWN = 'Break down.'
export const BROKEN = 'One two '

const asked = async (path) => Number(await (await fetch(`${process.env.STAND_IN}/${path}`)).text())

// The pieces of the answer to SLOWLY as they come: Claude says the first, and the rest when it has been heard.
export class Heard {
  pieces = []

  async add(text) {
    if (!text) return
    this.pieces.push(text)
    if (this.pieces.length > 1) return
    assert.notEqual(await asked('go_on'), 0, 'the first words came when all was said: they were not streamed')
  }
}

// Within the body Claude is called so often with the prompt, and no more.
export async function callsToClaude(prompt, expected, body) {
  const path = `calls/${encodeURIComponent(prompt)}`
  const before = await asked(path)
  await body()
  assert.equal(await asked(path) - before, expected, 'calls to Claude')
}

export async function run(cases) {
  for (const [name, body] of Object.entries(cases)) {
    try {
      await body()
      tell(name, 'ok', '')
    } catch (error) {
      tell(name, 'FAILED', error?.stack ?? String(error))
    }
  }
}

function tell(...words) {
  console.log('case ' + JSON.stringify(words))
}
