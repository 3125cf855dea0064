import fc from 'fast-check'
import t from 'tap'
import { compose, type Letter } from '../../src/mail/letters.ts'
import { escapeHtml, toHtml, toText } from '../../src/mail/render.ts'

const link = 'https://app.example/auth/email/verify#token=fhv_x&y="z"'
const where = { at: '2026-01-02T03:04:05.000Z', address: '203.0.113.7', device: 'Firefox on Linux' }
const letters: Letter[] = [
  { kind: 'sign-up', link },
  { kind: 'account-exists', link },
  { kind: 'verify-email', link },
  { kind: 'reset-password', link },
  { kind: 'choose-password', link },
  { kind: 'invitation', link, tenant: 'Acme', inviter: 'Ada Lovelace' },
  { kind: 'plan-ending', link, tenant: 'Acme', plan: 'Team', until: '2026-01-02', next: 'Free' },
  { kind: 'plan-ended', link, tenant: 'Acme', plan: 'Team', until: '2026-01-02', next: null },
  { kind: 'new-device', link, where },
  { kind: 'password-changed', link, where },
  { kind: 'token-reused', link, where },
  {
    kind: 'operator-entered',
    link,
    tenant: 'Acme',
    operator: 'op@example.com',
    reason: 'Ticket 7',
    until: '2026-01-02',
  },
  {
    kind: 'system-user-let-in',
    link,
    tenant: 'Acme',
    operator: 'op@example.com',
    name: 'Reports',
    role: 'Viewer',
  },
]

for (const letter of letters) {
  t.test(`${letter.kind}: says the same as text and as HTML, and both carry the link`, async (t) => {
    const content = compose(letter)
    const [text, html] = [toText(content), toHtml(content)]
    t.ok(text.includes(link))
    t.ok(html.includes(`href="${escapeHtml(link)}"`))
    for (const words of [...content.paragraphs, content.action.label, content.closing]) {
      t.ok(text.includes(words))
      t.ok(html.includes(escapeHtml(words).replaceAll('\n', '<br>')))
    }
    t.notMatch(html, /<(img|script|link|iframe)|url\(/, 'nothing is fetched from anywhere')
    t.match(content.subject, /^[\x20-\x7e]{1,78}$/)
  })
}

t.test('news say when, from where and with what', async (t) => {
  const news = letters.filter((letter) => 'where' in letter)
  t.equal(news.length, 3)
  for (const letter of news)
    t.match(toText(compose(letter)), /2026-01-02[\s\S]*203\.0\.113\.7[\s\S]*Firefox on Linux/)
})

const invitation = (tenant: string, inviter = 'Ada Lovelace') =>
  compose({ kind: 'invitation', link, tenant, inviter })

t.test(
  "a tenant's or a person's name can put no tag, no line and no address of its own into a stranger's mail",
  async (t) => {
    for (const name of [
      '<b>x',
      'a\r\nBcc: x@y.example',
      'win at http://evil.example',
      'evil.example',
      'www.evil',
      '  ',
    ]) {
      for (const content of [invitation(name), invitation('Acme', name)]) {
        t.notMatch(toHtml(content), /<b>/)
        t.equal(content.paragraphs[0]?.includes('\n'), false)
        t.notMatch(content.paragraphs[0] ?? '', /evil/)
      }
    }
    t.match(invitation('Dr. Müller & Söhne').paragraphs[0], /Dr\. Müller & Söhne/)
  },
)

t.test('any text is the same again when HTML is read back, and holds no markup', async (t) => {
  const back: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" }
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const escaped = escapeHtml(text)
      if (/[<>"']/.test(escaped)) return false
      return escaped.replace(/&(amp|lt|gt|quot|#39);/g, (entity) => back[entity] ?? '') === text
    }),
  )
  t.pass()
})

t.test("an operator's reason is one line, and nothing in it becomes a link or a tag", async (t) => {
  const reason = 'see <b>\r\nBcc: https://evil.example/x or mail me@evil.example'
  const letter = {
    kind: 'operator-entered',
    link,
    tenant: 'Acme',
    operator: 'op',
    reason,
    until: 'noon',
  } as const
  const { paragraphs } = compose(letter)
  t.equal(paragraphs[1]?.includes('\n'), false)
  t.notMatch(paragraphs[1], /:\/\/|evil\.example|@evil/)
  t.notMatch(toHtml(compose(letter)), /<b>/)
})
