import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import swagger from '@fastify/swagger'
import { publicRoute } from './access-rules.ts'
import type { App } from './app.ts'

const reason = 'the reference of the API holds nothing about anybody'

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Freehold API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body><div id="reference"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
`

const start = `SwaggerUIBundle({ url: '/docs/json', dom_id: '#reference', deepLinking: true, persistAuthorization: false })\n`

/** Only what the page itself needs; its style attributes come from the reference renderer. */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"

/** Collects the routes' schemas as OpenAPI 3.1. Must come before the routes. */
export const registerOpenApi = async (
  app: App,
  info: { version: string; publicUrl: string; cookie: string },
): Promise<void> => {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Freehold',
        version: info.version,
        description: 'Every customer owns their own Postgres database.',
      },
      servers: [{ url: info.publicUrl }],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          cookie: {
            type: 'apiKey',
            in: 'cookie',
            name: info.cookie,
            description: 'Set by signing in with x-auth-mode: cookie; looked at only without Authorization.',
          },
          csrf: {
            type: 'apiKey',
            in: 'header',
            name: 'x-csrf-token',
            description:
              'With the cookie, on everything that changes something: from the answer of signing in.',
          },
        },
      },
    },
    // Named schemas keep their names instead of def-0, def-1 …
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `schema-${i}`) },
    // A route that only its rule protects shows so in the reference, without saying it twice.
    transform: ({ schema, url, route }) => ({
      url,
      schema: {
        ...schema,
        ...(route.config?.access?.scope === 'public'
          ? {}
          : {
              security: [{ bearer: [] }, route.method === 'GET' ? { cookie: [] } : { cookie: [], csrf: [] }],
            }),
      },
    }),
  })
}

/** `/docs/json` is the OpenAPI document, `/docs` the page that shows it. Everything is served from here, nothing from elsewhere. */
export const documentationRoutes = (app: App): void => {
  // Looked up, not loaded: the package's own entry runs the whole page's script.
  const dist = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  const options = { config: publicRoute(reason), schema: { hide: true } }
  app.get('/docs/json', options, async () => app.swagger())
  app.get('/docs', options, async (_request, reply) =>
    reply
      .header('content-security-policy', contentSecurityPolicy)
      .type('text/html; charset=utf-8')
      .send(page),
  )
  const assets = { 'swagger-ui.css': 'text/css', 'swagger-ui-bundle.js': 'text/javascript' } as const
  for (const [file, type] of Object.entries(assets)) {
    app.get(`/docs/assets/${file}`, options, async (_request, reply) =>
      reply
        .type(type)
        .header('cache-control', 'public, max-age=86400')
        .send(await readFile(join(dist, file))),
    )
  }
  app.get('/docs/assets/start.js', options, async (_request, reply) =>
    reply.type('text/javascript').send(start),
  )
}
