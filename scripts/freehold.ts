import { addAuditArchive } from './commands/audit/archive.ts'
import { addAuditVerify } from './commands/audit/verify.ts'
import { addDoctor } from './commands/doctor/doctor.ts'
import { addKeysRotate } from './commands/keys/rotate.ts'
import { addMasterMigrate } from './commands/master/migrate.ts'
import { addSystemUserCreate } from './commands/system-user/create.ts'
import { addSystemUserList } from './commands/system-user/list.ts'
import { addSystemUserRotate } from './commands/system-user/rotate.ts'
import { addTenantCreate } from './commands/tenant/create.ts'
import { addTenantList } from './commands/tenant/list.ts'
import { addTenantShow } from './commands/tenant/show.ts'
import { createProgram, noun, run } from './program.ts'

const program = createProgram()

const tenant = noun(program, 'tenant', 'Customers, and the databases they hold')
addTenantCreate(tenant)
addTenantList(tenant)
addTenantShow(tenant)

const systemUser = noun(program, 'system-user', 'Service accounts that the platform keeps')
addSystemUserCreate(systemUser)
addSystemUserList(systemUser)
addSystemUserRotate(systemUser)

const keys = noun(program, 'keys', 'The keys that sign access tokens, and the one that seals secrets')
addKeysRotate(keys)

const audit = noun(program, 'audit', "Tenants' audit logs")
addAuditVerify(audit)
addAuditArchive(audit)

const master = noun(program, 'master', 'The control database')
addMasterMigrate(master)

addDoctor(program)

await run(program, process.argv.slice(2))
