'use strict';
// Request ids: a write that is sent more than once.

const assert = require('node:assert/strict');

const grpc = require('@grpc/grpc-js');

const v = Buffer.from('v');

module.exports = {
  async 'a write under one id is applied once and answered alike'(world) {
    const write = await world.attempt(world.slot(), 1, 1);
    const given = [];
    for (let number = 1; number <= 6; number++) {
      const options = { store: number % world.addresses.length };
      given.push(await world.put('once', 'v', { ...write, attempt: number }, options));
    }
    assert.equal(new Set(given).size, 1, String(given));
    assert.equal(await world.versions('once'), 1);
  },

  async 'attempts that meet are applied once'(world) {
    const write = await world.attempt(world.slot(), 1, 1);
    const send = (_, i) =>
      world.put('meet', 'v', { ...write, attempt: i + 1 }, { store: i % world.addresses.length });
    const given = await Promise.all(Array.from({ length: 12 }, send));
    assert.equal(new Set(given).size, 1, String(given));
    assert.equal(await world.versions('meet'), 1);
  },

  async 'an old sequence is refused and does not undo the newer write'(world) {
    const slot = world.slot();
    await world.put('slot', 'first', await world.attempt(slot, 1, 1));
    await world.put('slot', 'second', await world.attempt(slot, 2, 1));
    const late = world.put('slot', 'first', await world.attempt(slot, 1, 2));
    await world.refused('ABORTED', 'stale_sequence', late);
    assert.equal(await world.get('slot'), 'second');
  },

  async 'an id that names another write is refused'(world) {
    const slot = world.slot();
    await world.put('reused', 'one', await world.attempt(slot, 1, 1));
    const other = world.put('reused', 'two', await world.attempt(slot, 1, 2));
    await world.refused('INVALID_ARGUMENT', 'request_reused', other);
    assert.equal(await world.get('reused'), 'one');
  },

  async 'an attempt past its last moment is not evaluated'(world) {
    const now = await world.fleetMs();
    const late = world.put('past', 'v', await world.attempt(world.slot(), 1, 1, now - 10_000));
    const rejection = await world.refused('ABORTED', 'past_last_moment', late);
    const told = Number(BigInt(rejection.past_last_moment.now) >> 16n);
    assert(Math.abs(told - now) < 60_000, 'the refusal tells fleet time');
    assert.equal(await world.get('past'), null);
  },

  async 'a last moment too far ahead is refused'(world) {
    const far = await world.attempt(world.slot(), 1, 1, (await world.fleetMs()) + 120_000);
    await world.invalid(world.put('far', 'v', far));
  },

  async 'malformed ids are refused'(world) {
    const good = await world.attempt(world.slot(), 1, 1);
    const broken = [
      { ...good, id: null },
      { ...good, id: { ...good.id, client: null } },
      { ...good, id: { ...good.id, slot: 1_024 } },
      { ...good, id: { ...good.id, sequence: 0 } },
      { ...good, attempt: 0 },
      { ...good, last_moment: '0' },
    ];
    for (const write of broken) await world.invalid(world.put('malformed', 'v', write));
    assert.equal(await world.get('malformed'), null);
  },

  async 'every kind of write remembers its outcome'(world) {
    const key = world.key('kinds');
    const twice = async (method, request) => {
      const write = await world.attempt(world.slot(), 1, 1);
      const first = await world.kv(method, { ...request, write });
      const second = await world.kv(method, { ...request, write: { ...write, attempt: 2 } });
      assert.deepEqual(first, second);
      return first;
    };
    const mutation = { key, value: v };
    const done = await twice('CompareAndSet', { condition: { key, absent: true }, mutation });
    assert.equal(done.outcome, 'written', 'the second attempt hears of the first, though the key exists by now');
    await twice('AtomicBatch', { mutations: [mutation] });
    await twice('Delete', { key });
    assert.equal(await world.get('kinds'), null);
    await world.put('kinds', 'v');
    const end = Buffer.concat([key, Buffer.from([0])]);
    assert.equal((await twice('DeleteRange', { start: key, end })).deleted, 1);
  },

  async 'writes without an id are at most once for each attempt'(world) {
    const versions = [await world.put('thin', 'v'), await world.put('thin', 'v'), await world.put('thin', 'v')];
    assert(versions[0] < versions[1] && versions[1] < versions[2]);
    assert.equal(await world.versions('thin'), 3);
  },

  async 'a write that the deadline cut off is finished under its id'(world) {
    const write = await world.attempt(world.slot(), 1, 1);
    const request = { key: world.key('cut off'), value: v, write };
    try {
      await world.once('kv', 'Put', request, Date.now() + 1, 0);
    } catch (error) {
      // The client's own deadline, or the store's answer that it does not know the outcome: whichever comes first.
      assert.ok([grpc.status.DEADLINE_EXCEEDED, grpc.status.UNKNOWN].includes(error.code), String(error));
    }
    // Perhaps it was done, perhaps not, perhaps it is on its way: under its id it makes no difference.
    await world.put('cut off', 'v', { ...write, attempt: 2 });
    assert.equal(await world.versions('cut off'), 1);
  },
};
