import t from 'tap'
import { allPermissions, covers, expandPermissions, systemRoles } from '../../src/access/catalogue.ts'

const holds = (role: string) => expandPermissions(systemRoles.find((r) => r.name === role)?.permissions ?? [])

t.test('system roles hold what they say', async (t) => {
  t.strictSame(holds('Admin'), allPermissions)
  t.ok(holds('Writer').includes('tenant-api:project:delete'))
  t.notOk(holds('Writer').includes('tenant-api:tenant:update'))
  t.ok(holds('Viewer').every((permission) => permission.endsWith(':read')))
  t.strictSame(holds('Basic'), ['tenant-api:tenant:read'])
})

t.test('a wildcard covers whole parts of a permission, never pieces', async (t) => {
  t.ok(covers('tenant-api:project:*', 'tenant-api:project:read'))
  t.ok(covers('tenant-api:*', 'tenant-api:project:read'))
  t.notOk(covers('tenant-api:project:*', 'tenant-api:projects:read'))
  t.notOk(covers('tenant-api:pro*', 'tenant-api:project:read'))
  t.notOk(covers('*', 'tenant-api:project:read'))
  t.notOk(covers('tenant-api:project:read', 'tenant-api:project:readall'))
})

t.test('patterns that match nothing grant nothing', async (t) => {
  t.strictSame(expandPermissions(['other:*', 'tenant-api:nothing:*', '']), [])
})
