import t from 'tap'
import { parseSmtpUrl } from '../../src/kernel/smtp-address.ts'

t.test('TLS is required everywhere but on this machine, unless less is asked for', async (t) => {
  const expected: [url: string, address: Record<string, unknown>][] = [
    ['smtps://smtp.example.com', { host: 'smtp.example.com', port: 465, security: 'smtps', verify: true }],
    ['smtp://smtp.example.com', { port: 587, security: 'starttls', verify: true, login: undefined }],
    ['smtp://smtp.example.com:25/?tls=no-verify', { port: 25, security: 'starttls', verify: false }],
    ['smtp://relay:1025?tls=off', { host: 'relay', port: 1025, security: 'plain' }],
    ['smtp://localhost:1025', { security: 'plain' }],
    ['smtp://127.0.0.1:1025', { security: 'plain' }],
    ['smtp://[::1]:1025', { host: '::1', security: 'plain' }],
    ['smtp://localhost?tls=verify', { security: 'starttls', verify: true }],
    ['smtp://127.0.0.1.evil.example', { security: 'starttls', verify: true }],
    ['smtps://localhost', { security: 'smtps', verify: true }],
    ['smtp://a%40b:p%3Ass@h', { login: { user: 'a@b', password: 'p:ss' } }],
  ]
  for (const [url, address] of expected) t.match(parseSmtpUrl(url), address, url)
})

t.test('what is no mail server is refused, and the password is not repeated', async (t) => {
  for (const url of [
    'http://u:canary@h',
    'smtp.example.com',
    'smtp://',
    'smtp://u:canary@h/path',
    'smtp://u:canary@h?tls=maybe',
    'smtp://u:canary@h?pool=true',
    'smtps://u:canary@h?tls=off',
  ]) {
    try {
      parseSmtpUrl(url)
      t.fail(url)
    } catch (error) {
      t.match(error, { message: /^(must be an address|may end with|cannot be smtps)/ }, url)
      t.notMatch(String(error), /canary/)
    }
  }
})
