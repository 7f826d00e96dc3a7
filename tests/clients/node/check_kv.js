'use strict';
// Every operation of Kv but Stream, on the good path.

const assert = require('node:assert/strict');

const { text } = require('./checks');

const ROWS = 60;
const names = (prefix) => Array.from({ length: ROWS }, (_, i) => `${prefix}/${String(i).padStart(3, '0')}`);

async function fill(world, prefix) {
  await Promise.all(names(prefix).map((name) => world.put(name, name)));
  return names(prefix).map((name) => world.key(name).toString());
}

function cas(world, name, expected, value) {
  const key = world.key(name);
  const mutation = value === null ? { key } : { key, value: Buffer.from(value) };
  return world.kv('CompareAndSet', { condition: { key, ...expected }, mutation });
}

module.exports = {
  async 'put and get through every store'(world) {
    for (let store = 0; store < world.addresses.length; store++) {
      const version = await world.put('one', `value ${store}`, null, { store });
      for (let other = 0; other < world.addresses.length; other++) {
        const { value } = await world.kv('Get', { key: world.key('one') }, { store: other });
        assert.deepEqual([value.value.toString(), BigInt(value.timestamp)], [`value ${store}`, version]);
      }
    }
  },

  async 'keys and values are any bytes'(world) {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const key = Buffer.concat([world.key(''), bytes]);
    for (const value of [Buffer.alloc(0), Buffer.from([0]), bytes]) {
      await world.kv('Put', { key, value });
      assert.deepEqual((await world.kv('Get', { key })).value.value, value);
    }
  },

  async 'a key that is not there has no value'(world) {
    assert.equal(await world.get('never written'), null);
  },

  async 'delete takes a key away and is a success without one'(world) {
    await world.put('gone', 'x');
    for (let i = 0; i < 2; i++) {
      const answer = await world.kv('Delete', { key: world.key('gone') });
      assert(BigInt(answer.written.timestamp) > 0n);
      assert.equal(await world.get('gone'), null);
    }
  },

  async 'old versions can be read at their timestamps'(world) {
    const first = await world.put('old', '1');
    const second = await world.put('old', '2');
    assert(first < second);
    const cases = [[first, '1'], [second - 1n, '1'], [second, '2'], [0n, '2']];
    for (const [at, wanted] of cases) {
      const { value } = await world.kv('Get', { key: world.key('old'), at: at.toString() });
      assert.equal(value.value.toString(), wanted);
    }
    const before = await world.kv('Get', { key: world.key('old'), at: (first - 1n).toString() });
    assert.equal(before.value, null);
  },

  async 'keyspaces are apart'(world) {
    const key = world.key('apart');
    await world.kv('Put', { keyspace: 7, key, value: Buffer.from('seven') });
    assert.equal(await world.get('apart'), null);
    assert.equal((await world.kv('Get', { keyspace: 7, key })).value.value.toString(), 'seven');
    await world.put('apart', 'default');
    assert.equal((await world.kv('Get', { keyspace: 1, key })).value.value.toString(), 'default');
  },

  async 'a value expires in fleet time'(world) {
    const key = world.key('expires');
    const now = await world.fleetMs();
    await world.kv('Put', { key, value: Buffer.from('x'), expires_at_ms: now + 3_600_000 });
    assert.equal(await world.get('expires'), 'x');
    await world.kv('Put', { key, value: Buffer.from('y'), expires_at_ms: now - 1 });
    assert.equal(await world.get('expires'), null);
  },

  async 'compare and set by absence, value and version'(world) {
    let answer = await cas(world, 'cas', { absent: true }, '1');
    answer = await cas(world, 'cas', { version: answer.written.timestamp }, '2');
    assert.equal(answer.outcome, 'written');
    assert.equal((await cas(world, 'cas', { value: Buffer.from('2') }, '3')).outcome, 'written');
    assert.equal((await cas(world, 'cas', { value: Buffer.from('3') }, null)).outcome, 'written');
    assert.equal(await world.get('cas'), null, 'a mutation without a value deletes');
  },

  async 'a condition that does not hold is an answer'(world) {
    const version = await world.put('held', 'here');
    const fails = [{ absent: true }, { value: Buffer.from('other') }, { version: (version - 1n).toString() }];
    for (const expected of fails) {
      const { condition_failed: failed } = await cas(world, 'held', expected, 'no');
      assert.equal(failed.index, 0);
      assert.deepEqual([failed.actual.value.toString(), BigInt(failed.actual.timestamp)], ['here', version]);
    }
    const missing = await cas(world, 'not held', { value: Buffer.from('x') }, 'no');
    assert.deepEqual([missing.outcome, missing.condition_failed.actual], ['condition_failed', null]);
    assert.deepEqual([await world.get('held'), await world.get('not held')], ['here', null]);
  },

  async 'an atomic batch is done as a whole or not at all'(world) {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => world.key(`batch/${name}`));
    await world.put('batch/c', 'old');
    const mutations = [{ key: a, value: Buffer.from('1') }, { key: b, value: Buffer.from('2') }, { key: c }];
    const old = { key: c, value: Buffer.from('old') };
    const fails = [old, { key: a, value: Buffer.from('9') }];
    const failed = await world.kv('AtomicBatch', { conditions: fails, mutations });
    assert.equal(failed.condition_failed.index, 1);
    assert.equal(await world.get('batch/c'), 'old');
    const holds = [{ key: a, absent: true }, old];
    const { written } = await world.kv('AtomicBatch', { conditions: holds, mutations });
    const found = await world.kv('BatchGet', { keys: [a, b, c] });
    const shown = found.values.map(({ value }) => value && [value.value.toString(), value.timestamp]);
    assert.deepEqual(shown, [['1', written.timestamp], ['2', written.timestamp], null]);
  },

  async 'batch get answers in the order of the keys'(world) {
    // The ends of the alphabet: two ranges, because the fleet has been cut between them.
    await world.put('rows/zz', 'last');
    await world.put('rows/aa', 'first');
    const keys = ['rows/zz', 'rows/none', 'rows/aa', 'rows/zz'].map((name) => world.key(name));
    const { values } = await world.kv('BatchGet', { keys });
    assert.deepEqual(values.map(({ value }) => value && value.value.toString()), ['last', null, 'first', 'last']);
  },

  async 'scans read in both directions'(world) {
    const keys = await fill(world, 'scan');
    const bounds = { start: world.key('scan/'), end: world.prefixEnd('scan/') };
    for (const reverse of [false, true]) {
      const pages = await world.scan({ ...bounds, reverse });
      const rows = pages.flatMap((page) => page.rows);
      assert.deepEqual(text(rows), reverse ? [...keys].reverse() : keys);
      assert(!pages.at(-1)._resume, 'all is read');
      assert(pages.every((page) => BigInt(page.at) > 0n) && rows.every((row) => BigInt(row.version) > 0n));
    }
  },

  async 'scans begin and end where they are told'(world) {
    const keys = names('scan').map((name) => world.key(name));
    const bounds = { start: keys[10], end: keys[20] };
    assert.deepEqual(text(await world.rows(bounds)), keys.slice(10, 20).map(String));
    const few = await world.rows({ ...bounds, reverse: true, max_rows: 3 });
    assert.deepEqual(text(few), [keys[19], keys[18], keys[17]].map(String));
    const [page] = await world.scan({ ...bounds, max_bytes: 1 });
    assert.deepEqual(page.rows[0].key, keys[10]);
  },

  async 'a scan goes on where it stopped, in both directions'(world) {
    const keys = names('scan').map((name) => world.key(name).toString());
    for (const reverse of [false, true]) {
      const request = { start: world.key('scan/'), end: world.prefixEnd('scan/'), reverse, max_rows: 7 };
      const found = [];
      let scans = 0;
      for (let goesOn = true; goesOn; scans++) {
        const pages = await world.scan(request);
        found.push(...text(pages.flatMap((page) => page.rows)));
        const last = pages.at(-1);
        goesOn = Boolean(last?._resume);
        if (goesOn) request[reverse ? 'end' : 'start'] = last.resume;
      }
      assert.deepEqual(found, reverse ? [...keys].reverse() : keys);
      assert(scans >= Math.floor(ROWS / 7), String(scans));
    }
  },

  async 'the pages of a range are read at one timestamp'(world) {
    // Each round writes all rows of one range in one batch. A scan that goes on sees one round, whatever is written meanwhile.
    const keys = Array.from({ length: 12 }, (_, i) => world.key(`whole/${String(i).padStart(3, '0')}`));
    const write = (round) =>
      world.kv('AtomicBatch', { mutations: keys.map((key) => ({ key, value: Buffer.from(String(round)) })) });
    for (const reverse of [false, true]) {
      await write(0);
      const request = { start: world.key('whole/'), end: world.prefixEnd('whole/'), reverse, max_rows: 3 };
      const found = [];
      for (let round = 1; round < 5; round++) {
        const pages = await world.scan(request);
        found.push(...pages.flatMap((page) => page.rows).map((row) => row.value.toString()));
        await write(round);
        const last = pages.at(-1);
        request.part = last.part;
        if (last._resume) request[reverse ? 'end' : 'start'] = last.resume;
      }
      assert.deepEqual(found, Array(keys.length).fill('0'));
    }
  },

  async 'a scan at a timestamp sees the past'(world) {
    const keys = await fill(world, 'past');
    const bounds = { start: world.key('past/'), end: world.prefixEnd('past/') };
    const times = (await world.scan(bounds)).map((page) => BigInt(page.at));
    const at = times.reduce((most, time) => (time > most ? time : most)).toString();
    await world.kv('DeleteRange', bounds);
    assert.deepEqual(await world.rows(bounds), []);
    assert.deepEqual(text(await world.rows({ ...bounds, at })), keys);
  },

  async 'delete range works page by page'(world) {
    await fill(world, 'sweep');
    await world.put('sweeq', 'stays');
    let [start, deleted, pages] = [world.key('sweep/'), 0, 0];
    while (start) {
      const answer = await world.kv('DeleteRange', { start, end: world.prefixEnd('sweep/'), max_keys: 25 });
      assert(answer.deleted <= 25 && BigInt(answer.timestamp) > 0n);
      deleted += answer.deleted;
      pages += 1;
      start = answer._resume && answer.resume;
    }
    assert.equal(deleted, ROWS);
    assert(pages >= 3, String(pages));
    assert.deepEqual([await world.get('sweep/000'), await world.get('sweeq')], [null, 'stays']);
  },

  async 'a scan that nobody reads can be cancelled'(world) {
    const stream = world.stubs.kv[0].Scan({});
    const ended = new Promise((resolve) => stream.on('error', resolve));
    stream.once('data', () => stream.cancel());
    assert.equal((await ended).code, 1, 'CANCELLED');
    assert.notEqual(await world.get('scan/000'), null, 'the connection is still good');
  },
};
