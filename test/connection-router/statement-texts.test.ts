import t from 'tap'
import { isRepeatable, learnCost, StatementTexts } from '../../src/connection-router/statement-texts.ts'

const shareable = [
  'select * from "canary" where "id" = $1',
  '(select 1) union (select 2)',
  'insert into "canary" values ($1)',
  'update "canary" set "word" = $1',
  'delete from "canary"',
  'with x as (select 1) select * from x',
  'values (1)',
  'table canary',
  "select set_config('app.user', $1, true)",
]

const alone = [
  ...['begin', 'commit', 'rollback', 'savepoint a', 'set local search_path = x', 'set role x', 'reset all'],
  ...[
    'lock table x',
    'truncate x',
    'notify x',
    'listen x',
    'declare c cursor for select 1',
    'fetch 1 from c',
  ],
  ...[
    'create table x (id int)',
    'copy x from stdin',
    'do $$ begin end $$',
    'call p()',
    'prepare p as select 1',
  ],
  ...[
    "select set_config('a', 'b', false)",
    'select pg_advisory_lock(1)',
    'select 1 into temp x',
    '',
    'explain x',
  ],
]

t.test('only plain reads and writes that leave nothing run beside others', async (t) => {
  const texts = new StatementTexts()
  for (const sql of shareable) t.equal(texts.of(sql).shareable, true, sql)
  for (const sql of alone) t.equal(texts.of(sql).shareable, false, sql)
})

const repeatable = [
  'select * from "canary" where "id" = $1',
  'select count(*) from "canary"',
  'select "id" from "canary" where "id" in ($1, $2) and exists (select 1 from "x")',
  'select "update" from "canary" where ("a" = $1 or "b" = $2) for_update',
  "select 'nextval(1)' as text",
]

const notRepeatable = [
  'select * from canary for update',
  'select * from canary for no key update',
  'select * from canary FOR SHARE skip locked',
  'select * from canary for key share',
  'select 1 into x',
  "select nextval('s')",
  'select pg_catalog.nextval($1)',
  'select public.count(1)',
  'select "count"(1)',
  'select "count" (1)',
  'select /* count */ change_it()',
  'select change_it /* x */ ()',
  'select U&"cou\\006et"(1)',
  'select pg_sleep(1)',
  'insert into canary values (1)',
  'with x as (delete from canary returning 1) select * from x',
  'values (1)',
]

t.test(
  'a read is repeatable only when it locks nothing, makes nothing and calls nothing unknown',
  async (t) => {
    for (const sql of repeatable) t.equal(isRepeatable(sql), true, sql)
    for (const sql of notRepeatable) t.equal(isRepeatable(sql), false, sql)
  },
)

t.test('a text is worth a name when it is seen again', async (t) => {
  const texts = new StatementTexts()
  t.equal(texts.of('select 1').worthNaming, false)
  t.equal(texts.of('select 1').worthNaming, true)
  t.equal(texts.of('select 2').worthNaming, false)
})

t.test('a text that never ran counts as long; what it costs is learned', async (t) => {
  const text = new StatementTexts().of('select 1')
  t.ok(text.cost > 100)
  learnCost(text, 0)
  t.equal(text.cost, 0)
  learnCost(text, 1_000)
  t.equal(text.cost, 1, 'one long wait is not held against it for long')
  for (let i = 0; i < 30; i++) learnCost(text, 0)
  t.ok(text.cost < 0.05)
  for (let i = 0; i < 30; i++) learnCost(text, 1_000)
  t.ok(text.cost > 7)
})

t.test('a zero byte in a text is refused before the server sees it', async (t) => {
  t.throws(() => new StatementTexts().of('select 1\0; drop table x'), TypeError)
})

t.test('texts are kept in bounded memory', async (t) => {
  const texts = new StatementTexts()
  const first = texts.of('select 0')
  for (let i = 1; i < 6_000; i++) texts.of(`select ${i}`)
  t.not(texts.of('select 0'), first)
})

t.test('strange texts are judged before the test runs out of time', async (t) => {
  for (const piece of ['(', 'a(', '"(', ' (', 'for no key ', 'into', "'", '$a$']) {
    isRepeatable(`select ${piece.repeat(20_000)}`)
    t.pass(piece)
  }
})
