import t from 'tap'
import { deviceName } from '../../src/access/device-name.ts'
import { isKnownDevice, networkOf, rememberDevice } from '../../src/access/known-devices.ts'
import { startPlainMaster } from '../helpers/plain-master.ts'

const { db, newPerson } = await startPlainMaster(t)

t.test('a network is the neighbourhood of an address, in whatever spelling', async (t) => {
  t.equal(networkOf('203.0.113.7'), '203.0.113')
  t.equal(networkOf('::ffff:203.0.113.99'), '203.0.113')
  t.equal(networkOf('2001:db8:1::5'), '2001:0db8:0001')
  t.equal(networkOf('2001:0DB8:0001:ffff::'), '2001:0db8:0001')
  t.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:0db8:0001')
  t.equal(networkOf('::1'), '0000:0000:0000')
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0000:0000')
})

t.test('the first device is where the account began, another one is news, and each only once', async (t) => {
  const [ada, bob] = [await newPerson(), await newPerson()]
  const home = { address: '203.0.113.7', userAgent: 'Mozilla/5.0 Firefox/140.0' }
  const remember = (id: string, client: typeof home) =>
    db.transaction().execute((trx) => rememberDevice(trx, id, client))
  t.equal(await remember(ada, home), 'first')
  t.equal(await remember(ada, home), 'known')
  t.equal(await remember(ada, { address: '203.0.113.200', userAgent: 'Mozilla/5.0 Firefox/141.0' }), 'known')
  t.equal(await remember(ada, { ...home, address: '198.51.100.1' }), 'new')
  t.equal(await remember(ada, { ...home, userAgent: 'curl/8' }), 'new')
  t.ok(await isKnownDevice(db, ada, home))
  t.notOk(await isKnownDevice(db, bob, home), "one person's device is not another's")
})

t.test('of a traveller the newest 50 are kept', async (t) => {
  const person = await newPerson()
  const device = (n: number) => ({ address: `10.0.${n}.1`, userAgent: 'x' })
  for (let n = 0; n < 55; n += 1) {
    await db.transaction().execute((trx) => rememberDevice(trx, person, device(n)))
  }
  const rows = await db.selectFrom('known_devices').selectAll().where('person_id', '=', person).execute()
  t.equal(rows.length, 50)
  t.ok(await isKnownDevice(db, person, device(54)))
  t.notOk(await isKnownDevice(db, person, device(0)))
})

t.test('a device is named in words of our own', async (t) => {
  const windows =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36'
  t.equal(deviceName(windows), 'Chrome on Windows')
  t.equal(deviceName(`${windows} Edg/140.0`), 'Edge on Windows')
  const iphone =
    'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/19 Safari/604'
  t.equal(deviceName(iphone), 'Safari on iOS')
  t.equal(deviceName('curl/8.5.0'), 'curl')
  t.equal(deviceName('<script>'), 'an unknown device')
  t.equal(deviceName(null), 'an unknown device')
})
