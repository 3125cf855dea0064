import t from 'tap'
import { loadConfig } from '../../src/kernel/config.ts'
import { OperatorError } from '../../src/kernel/errors.ts'

const key = Buffer.alloc(32, 1).toString('base64')
const url = 'postgres://freehold:s3cret-word@db.example:5433/freehold?sslmode=verify-full'

const mistakesOf = (env: Record<string, string>): readonly string[] => {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    if (error instanceof OperatorError) return error.lines
    throw error
  }
}

t.test('nothing needs to be set', async (t) => {
  t.match(loadConfig({}, '/srv'), {
    dataDir: '/srv/.freehold',
    role: 'all',
    host: '127.0.0.1',
    port: 4000,
    publicUrl: 'http://localhost:4000',
    external: undefined,
    masterKey: undefined,
    previousMasterKey: undefined,
    accessTokenSeconds: 900,
  })
})

t.test('an empty variable counts as not set', async (t) => {
  t.equal(loadConfig({ PORT: ' ', MASTER_DATABASE_URL: '' }).port, 4000)
})

t.test('the configuration is frozen', async (t) => {
  const config = loadConfig({})
  t.throws(() => Object.assign(config, { port: 1 }), TypeError)
  t.throws(() => Object.assign(config.admin, { email: 'x' }), TypeError)
})

t.test(
  'with a server of their own, both logins come from the URL unless the provisioner has one',
  async (t) => {
    const { external, host } = loadConfig({ MASTER_DATABASE_URL: url, MASTER_KEY: key })
    t.match(external?.master, {
      host: 'db.example',
      port: 5433,
      database: 'freehold',
      user: 'freehold',
      ssl: 'verify-full',
    })
    t.equal(external?.provisioner, external?.master)
    t.equal(host, '0.0.0.0')
    const other = loadConfig({
      MASTER_DATABASE_URL: url,
      MASTER_KEY: key,
      PROVISIONER_DATABASE_URL: url.replace('freehold:', 'provisioner:'),
    })
    t.equal(other.external?.provisioner.user, 'provisioner')
  },
)

t.test('a unix socket and escaped characters in a URL are understood', async (t) => {
  const { external } = loadConfig({
    MASTER_DATABASE_URL: 'postgresql://me:p%40ss@/db%20name?host=/run/pg',
    MASTER_KEY: key,
  })
  t.match(external?.master, {
    host: '/run/pg',
    port: 5432,
    database: 'db name',
    user: 'me',
    password: 'p@ss',
  })
})

t.test('an address is proved before there is an account, except on a server of our own', async (t) => {
  t.equal(loadConfig({}).verifyEmail, 'after')
  t.equal(loadConfig({ MASTER_DATABASE_URL: url, MASTER_KEY: key }).verifyEmail, 'before')
  t.equal(loadConfig({ VERIFY_EMAIL: 'before' }).verifyEmail, 'before')
})

t.test('providers to sign in with are told by their variables', async (t) => {
  const google = { OIDC_GOOGLE_CLIENT_ID: 'id', OIDC_GOOGLE_CLIENT_SECRET: 'secret' }
  const my = {
    OIDC_MY_IDP_ISSUER: 'http://127.0.0.1:9/x',
    OIDC_MY_IDP_CLIENT_ID: 'i',
    OIDC_MY_IDP_CLIENT_SECRET: 's',
  }
  t.strictSame(
    loadConfig({ ...google, ...my, OIDC_MY_IDP_LABEL: 'Mine', OIDC_OTHER_LABEL: 'x' }).signInProviders,
    [
      {
        name: 'google',
        label: 'Google',
        issuer: 'https://accounts.google.com',
        clientId: 'id',
        clientSecret: 'secret',
      },
      { name: 'my-idp', label: 'Mine', issuer: 'http://127.0.0.1:9/x', clientId: 'i', clientSecret: 's' },
    ],
  )
  t.strictSame(loadConfig({}).signInProviders, [])
  t.strictSame(loadConfig({ RETURN_ORIGINS: 'https://a.example, http://localhost:3000' }).returnOrigins, [
    'https://a.example',
    'http://localhost:3000',
  ])
})

t.test('mails come from an address, with a name or without', async (t) => {
  const from = (text: string) => loadConfig({ MAIL_FROM: text }).mailFrom
  t.strictSame(from('No-Reply@Acme.example'), { name: '', address: 'no-reply@acme.example' })
  t.strictSame(from('Acme, Inc. <hi@acme.example>'), { name: 'Acme, Inc.', address: 'hi@acme.example' })
})

/** A provider of this name that is set up, but for `change`. */
const idp = (change: Record<string, string>, name = 'X'): Record<string, string> => ({
  [`OIDC_${name}_ISSUER`]: 'https://idp.example',
  [`OIDC_${name}_CLIENT_ID`]: 'id',
  [`OIDC_${name}_CLIENT_SECRET`]: 'secret',
  ...change,
})

t.test('origins are taken as they are spelled, and there are none unless named', async (t) => {
  t.strictSame(loadConfig({}).corsOrigins, [])
  const list = 'https://app.example.com, http://localhost:5173,https://x.example:8443'
  t.strictSame(loadConfig({ CORS_ORIGINS: list }).corsOrigins, list.split(/, ?/))
})

const wrong: [name: string, env: Record<string, string>, line: RegExp][] = [
  ['PORT', { PORT: '70000' }, /^PORT must be a whole number from 0 to 65535$/],
  ['PORT text', { PORT: '4e3' }, /^PORT must be/],
  ['ROLE', { ROLE: 'both' }, /^ROLE must be one of all, api, worker$/],
  ['LOG_LEVEL', { LOG_LEVEL: 'loud' }, /^LOG_LEVEL must be one of fatal, error/],
  ['HOST', { HOST: 'a b' }, /^HOST must be a host name/],
  ['PUBLIC_URL', { PUBLIC_URL: 'api.example.com' }, /^PUBLIC_URL must be an address like https/],
  ['JWT_EXPIRATION', { JWT_EXPIRATION: '1' }, /^JWT_EXPIRATION must be a whole number from 30/],
  ['MASTER_KEY', { MASTER_KEY: 'short' }, /^MASTER_KEY must be 32 bytes in base64 or hex/],
  [
    'MASTER_KEY_PREVIOUS',
    { MASTER_KEY: key, MASTER_KEY_PREVIOUS: 'short' },
    /^MASTER_KEY_PREVIOUS must be 32/,
  ],
  ['MASTER_KEY_PREVIOUS alone', { MASTER_KEY_PREVIOUS: key }, /^MASTER_KEY_PREVIOUS is only used with/],
  [
    'the same key twice',
    { MASTER_KEY: key, MASTER_KEY_PREVIOUS: key },
    /^MASTER_KEY_PREVIOUS must be another/,
  ],
  ['MASTER_KEY missing', { MASTER_DATABASE_URL: url }, /^MASTER_KEY is required with MASTER_DATABASE_URL/],
  [
    'MASTER_DATABASE_URL',
    { MASTER_DATABASE_URL: 'mysql://a@b/c', MASTER_KEY: key },
    /^MASTER_DATABASE_URL must be an address/,
  ],
  [
    'sslmode',
    { MASTER_DATABASE_URL: `${url}x`, MASTER_KEY: key },
    /^MASTER_DATABASE_URL has an unknown sslmode/,
  ],
  [
    'PROVISIONER_DATABASE_URL alone',
    { PROVISIONER_DATABASE_URL: url },
    /^PROVISIONER_DATABASE_URL is only used with/,
  ],
  ['ADMIN_EMAIL', { ADMIN_EMAIL: 'root' }, /^ADMIN_EMAIL must be an email address$/],
  ['ADMIN_PASSWORD', { ADMIN_PASSWORD: 'short' }, /^ADMIN_PASSWORD must have 8 to 256 characters$/],
  ['VERIFY_EMAIL', { VERIFY_EMAIL: 'never' }, /^VERIFY_EMAIL must be one of before, after$/],
  ['SMTP_URL', { SMTP_URL: 'mail.example.com', MAIL_FROM: 'a@b.example' }, /^SMTP_URL must be an address/],
  ['MAIL_FROM', { MAIL_FROM: 'Acme <acme>' }, /^MAIL_FROM must be an email address, or one like/],
  ['MAIL_FROM with a line break', { MAIL_FROM: 'A\nBcc: x@y.example <a@b.example>' }, /^MAIL_FROM must be/],
  ['REDIS_URL', { REDIS_URL: 'http://secret@x' }, /^REDIS_URL must be an address like redis:/],
  ['MAIL_FROM missing', { SMTP_URL: 'smtps://mail.example.com' }, /^MAIL_FROM is required with SMTP_URL/],
  [
    'OIDC_GOOGLE_CLIENT_SECRET missing',
    { OIDC_GOOGLE_CLIENT_ID: 'id' },
    /^OIDC_GOOGLE_CLIENT_SECRET is required with the other variables of this provider$/,
  ],
  ['OIDC_X_ISSUER missing', idp({ OIDC_X_ISSUER: '' }), /^OIDC_X_ISSUER is required/],
  [
    'OIDC_X_ISSUER without TLS',
    idp({ OIDC_X_ISSUER: 'http://idp.example' }),
    /^OIDC_X_ISSUER must be an address/,
  ],
  [
    'OIDC_X_ISSUER with a query',
    idp({ OIDC_X_ISSUER: 'https://idp.example/?' }),
    /^OIDC_X_ISSUER must be an address/,
  ],
  ['OIDC_X_ISSUER with a login', idp({ OIDC_X_ISSUER: 'https://a:b@idp.example' }), /^OIDC_X_ISSUER must be/],
  ['OIDC_X_LABEL', idp({ OIDC_X_LABEL: '<b>' }), /^OIDC_X_LABEL must be a name/],
  ['OIDC_TOKEN', idp({}, 'TOKEN'), /^OIDC_TOKEN_ISSUER cannot be used: \/auth\/token is taken/],
  ['two names of one issuer', { ...idp({}), ...idp({}, 'Y') }, /^OIDC_Y_ISSUER is the issuer of x already/],
  ['RETURN_ORIGINS', { RETURN_ORIGINS: 'https://a.example/path' }, /^RETURN_ORIGINS must be origins like/],
  ['RETURN_ORIGINS of all', { RETURN_ORIGINS: '*' }, /^RETURN_ORIGINS must be origins like/],
  ['RATE_LIMITS', { RATE_LIMITS: 'no' }, /^RATE_LIMITS must be one of on, off$/],
  [
    'RATE_LIMITS off for all',
    { RATE_LIMITS: 'off', HOST: '0.0.0.0' },
    /^RATE_LIMITS can only be off when HOST/,
  ],
  ['TRUSTED_PROXIES', { TRUSTED_PROXIES: '10.0.0.0/8, everybody' }, /^TRUSTED_PROXIES must be addresses/],
  ['TRUSTED_PROXIES of all', { TRUSTED_PROXIES: '0.0.0.0/0' }, /^TRUSTED_PROXIES must be addresses/],
  ...[
    ...['*', 'null', 'app.example.com', 'https://app.example.com/', 'https://APP.example.com'],
    ...[
      'https://*.example.com',
      'http://app.example.com',
      'https://a.example;https://b.example',
      'ftp://a.example',
    ],
    ...['https://me@app.example.com', 'https://app.example.com:443', 'https://a.example,'],
  ].map((text): (typeof wrong)[number] => [
    `CORS_ORIGINS ${text}`,
    { CORS_ORIGINS: text },
    /^CORS_ORIGINS must be origins like https/,
  ]),
  ['METRICS_TOKEN', { METRICS_TOKEN: 'short' }, /^METRICS_TOKEN must have at least 16/],
  ['CONNECTION_BUDGET', { CONNECTION_BUDGET: '1' }, /^CONNECTION_BUDGET must be/],
  ['SPARE_DATABASES', { SPARE_DATABASES: '-1' }, /^SPARE_DATABASES must be/],
]
for (const [name, env, line] of wrong) {
  t.test(`a wrong ${name} is one line that says what is accepted`, async (t) => {
    const lines = mistakesOf(env)
    t.equal(lines.length, 1)
    t.match(lines[0], line)
  })
}

t.test('all mistakes are told at once, and no secret is repeated', async (t) => {
  const lines = mistakesOf({
    PORT: 'x',
    ROLE: 'x',
    MASTER_DATABASE_URL: `${url}x`,
    MASTER_KEY: 'canary',
    ADMIN_PASSWORD: 'canary',
  })
  t.equal(lines.length, 5)
  t.notMatch(lines.join('\n'), /canary|s3cret/)
})
