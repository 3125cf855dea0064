import t from 'tap'
import { Type } from 'typebox'
import { Id, Line, Password, Text } from '../../src/http/schemas.ts'
import { compileSchema } from '../../src/http/validation.ts'

/** Whether a body with this field is taken. */
const takes = (schema: ReturnType<typeof Line>) => {
  const check = compileSchema({
    schema: Type.Object({ field: schema }),
    method: 'POST',
    url: '/',
    httpPart: 'body',
  })
  return (field: string): boolean => {
    const result: unknown = check({ field })
    return typeof result === 'object' && result !== null && !('error' in result)
  }
}

const line = takes(Line({ maxLength: 200 }))
const text = takes(Text({ maxLength: 200 }))
const password = takes(Password())
const id = takes(Id())

t.test('a line takes what people are called', async (t) => {
  for (const name of ['A', ' A ', 'Müller & Söhne', '東京', 'عمر', '👩‍👩‍👧', "O'Neil", 'a\u00a0b'])
    t.ok(line(name), name)
})

t.test('a line is not blank and holds no control character, not even one', async (t) => {
  const controls = ['\u0000', '\t', '\n', '\r', '\u001b', '\u007f', '\u009b', '\u2028']
  for (const control of controls) {
    for (const name of [control, `a${control}`, `${control}a`, `a${control}b`, ` ${control} `]) {
      t.notOk(line(name), encodeURIComponent(name))
    }
  }
  for (const blank of ['', ' ', '\u00a0 \u3000']) t.notOk(line(blank), encodeURIComponent(blank))
})

t.test('half characters are refused: they would be stored as others', async (t) => {
  for (const half of ['\ud800', '\udfff', 'abcdefgh\ud83d', '\ude00abcdefgh']) {
    for (const check of [line, text, password]) t.notOk(check(half))
  }
  for (const check of [line, text, password]) t.ok(check('abcdefgh 😀'))
})

t.test('a text takes line breaks and tabs, and no other control character', async (t) => {
  t.ok(text('a\r\n\tb'))
  for (const control of ['\u0000', '\u001b', '\u007f']) t.notOk(text(`a${control}`))
})

// A pattern that goes back over what it has read would need minutes for each of these; the file's time limit ends it.
t.test('a text as long as a body is refused in one pass, whatever is in it', async (t) => {
  const long = 1_000_000
  for (const unit of ['a', ' ', '\u00a0', 'a ', '😀']) {
    for (const end of ['', '\u007f\u007f', '\n\n', '\ud800\ud800']) {
      for (const check of [line, text, password]) t.notOk(check(unit.repeat(long) + end))
    }
  }
})

t.test('an id has the one spelling that Postgres reads', async (t) => {
  const uuid = '018f0000-0000-7000-8000-00000000000a'
  t.ok(id(uuid))
  t.ok(id(uuid.toUpperCase()))
  for (const other of [`urn:uuid:${uuid}`, `{${uuid}}`, uuid.replaceAll('-', ''), `${uuid}\n`, '']) {
    t.notOk(id(other), other)
  }
})
