import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyServerOptions } from 'fastify'
import { lazy } from '../kernel/lazy.ts'

type SchemaController = NonNullable<FastifyServerOptions['schemaController']>

/** Fastify's own writers of answers, each compiled by the first answer that needs it. */
export const lateSerializers: SchemaController = {
  compilersFactory: {
    buildSerializer: (schemas, options) => {
      const compile = SerializerSelector()(schemas, options)
      return (route) => lazy(() => compile(route))
    },
  },
}
