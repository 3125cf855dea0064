import t from 'tap'
import { leavesSessionState } from '../../src/connection-router/session-guard.ts'

const clean = [
  'select * from "canary" where "id" = $1',
  'insert into "canary" ("id") values ($1) returning "id"',
  'with "x" as (select 1) update "canary" set "word" = $1',
  '  (select 1) union (select 2)',
  '-- a comment\nselect 1',
  '/* set role x; */ select 1',
  '/* /* nested */ set */ select 1',
  'begin',
  'start transaction isolation level serializable',
  'commit',
  'rollback to savepoint "a"',
  'set local statement_timeout = 5',
  'SET LOCAL search_path = x',
  'set transaction read only',
  'set constraints all deferred',
  "select set_config('app.user', $1, true)",
  "select set_config('a', 'b', true), set_config('c', $1, TRUE)",
  'select pg_advisory_xact_lock($1)',
  'select pg_try_advisory_xact_lock($1)',
  'select "set_role", "temporary" from "reset"',
  "select 'listen; set role x' as text",
  'select $$set role x$$',
  'lock table "canary" in exclusive mode',
]

const leaving = [
  'set role t_other',
  'SET search_path = x',
  'set session authorization default',
  'set session characteristics as transaction read only',
  '\n\t set  timezone = 1',
  '-- select\nset role x',
  '/* select */set role x',
  '/* /* nested */ select */ set role x',
  'reset all',
  'listen channel',
  'unlisten *',
  'declare c cursor with hold for select 1',
  'prepare p as select 1',
  'deallocate all',
  'discard all',
  "load 'x'",
  'do $$ begin end $$',
  'call p()',
  'create temp table x (id int)',
  'create table pg_temp.x (id int)',
  'copy x from stdin',
  'select 1 into temp x',
  'select 1 into /* */ temporary x',
  'select 1 into\ntemporary table x',
  'select 1 into pg_temp.x',
  "select set_config('a', 'b', false)",
  'select set_config($1, $2, $3)',
  "select set_config('a', 'b, true)', false)",
  "select set_config('a', $1, false) -- , true)",
  "select set_config('a', 'b', true), set_config('c', 'd', false)",
  "select set_config('a', 'b', true), pg_advisory_lock(1)",
  `select "set_config"('a', 'b', false)`,
  `select U&"set\\005fconfig"('a', 'b', false)`,
  "select E'\\'', set_config('a', 'b', false), 'set_config(a, true)'",
  'select pg_advisory_lock(1)',
  'select pg_try_advisory_lock($1)',
  'select pg_advisory_lock_shared($1)',
  'with x as (select pg_advisory_lock(1)) select * from x',
  'select setseed(0.5)',
  '',
  ';',
]

for (const sql of clean) {
  t.test(`leaves nothing: ${JSON.stringify(sql)}`, async (t) => {
    t.equal(leavesSessionState(sql), false)
  })
}

for (const sql of leaving) {
  t.test(`may leave something: ${JSON.stringify(sql)}`, async (t) => {
    t.equal(leavesSessionState(sql), true)
  })
}

t.test('long and strange texts are judged before the test runs out of time', async (t) => {
  for (const piece of ['(', '/*', "'", '"', '$a$', '--', 'set_config(', 'set_config(a, ', ' ']) {
    leavesSessionState(`select ${piece.repeat(20_000)}`)
    leavesSessionState(piece.repeat(20_000))
    t.pass(piece)
  }
})
