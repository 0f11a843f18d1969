// What the scripts of the clients share: the prompts, what comes back, and how a case tells its result.
// The same as python/cases.py, which says more.

export const URL = process.env.OPENAI_BASE_URL
export const MODEL = 'claude-sonnet'
export const NO_MODEL = 'no-such-model'

export const HELLO = 'Say hello.'
export const CHUNKS = ['Hello, ', 'wide ', 'world.']
export const SAID = 'Hello, wide world.'

export const WEATHER = 'What is the weather in Paris and in Rome?'
export const REPORTS = { Paris: 'sunny', Rome: 'rainy' }
export const TOLD = 'I was told: sunny and rainy.'

export const DESCRIBE = 'Describe Paris.'
export const PARIS = { name: 'Paris', population: 2_100_000 }

export const SLOW_DOWN = 'Slow down.'
export const BREAK_OFF = 'Break off.'

// A case whose name begins with `responses` needs /v1/responses.
export async function run(cases) {
  for (const [name, body] of Object.entries(cases)) {
    if (name.startsWith('responses') && !process.env.HAS_RESPONSES) {
      tell(name, 'skipped', 'no /v1/responses')
      continue
    }
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
