'use strict';
// Every kind of refusal that a client can provoke, by code and by typed reason.

const assert = require('node:assert/strict');

const grpc = require('@grpc/grpc-js');

const { rejectionOf } = require('./thin_client');

const MAX_KEY = 4 << 10;
const MAX_VALUE = 1 << 20;
const v = Buffer.from('v');

module.exports = {
  async 'empty and oversized keys are refused'(world) {
    for (const key of [Buffer.alloc(0), Buffer.alloc(MAX_KEY + 1, 'k')]) {
      await world.invalid(world.kv('Get', { key }));
      await world.invalid(world.kv('Put', { key, value: v }));
      await world.invalid(world.kv('Delete', { key }));
      await world.invalid(world.kv('BatchGet', { keys: [world.key('a'), key] }));
      await world.invalid(world.kv('AtomicBatch', { mutations: [{ key, value: v }] }));
    }
  },

  async 'the longest key and the largest value are taken'(world) {
    const key = Buffer.alloc(MAX_KEY, 'k');
    world.key('long/').copy(key);
    const value = Buffer.alloc(MAX_VALUE);
    await world.kv('Put', { key, value });
    assert((await world.kv('Get', { key })).value.value.equals(value));
  },

  async 'oversized values are refused'(world) {
    await world.invalid(world.kv('Put', { key: world.key('large'), value: Buffer.alloc(MAX_VALUE + 1) }));
    assert.equal(await world.get('large'), null);
  },

  async 'batches have bounds'(world) {
    const key = world.key('twice');
    await world.invalid(world.kv('BatchGet', {}));
    await world.invalid(world.kv('BatchGet', { keys: Array(4_097).fill(key) }));
    await world.invalid(world.kv('AtomicBatch', {}));
    await world.invalid(world.kv('AtomicBatch', { mutations: [{ key, value: v }, { key }] }));
    const heavy = [0, 1, 2, 3].map((i) => ({ key: world.key(`batch/${i}`), value: Buffer.alloc(MAX_VALUE) }));
    await world.invalid(world.kv('AtomicBatch', { mutations: heavy }));
  },

  async 'a get of more than an answer takes is refused'(world) {
    const names = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `heavy/${i}`);
    for (const name of names) await world.put(name, Buffer.alloc(MAX_VALUE));
    const keys = names.map((name) => world.key(name));
    await world.invalid(world.kv('BatchGet', { keys }));
    assert.equal((await world.kv('BatchGet', { keys: keys.slice(0, 6) })).values.length, 6);
  },

  async 'reversed bounds are refused and empty ones hold nothing'(world) {
    const [start, end] = [world.key('b'), world.key('a')];
    await world.invalid(world.kv('DeleteRange', { start, end }));
    await world.invalid(world.kv('DeleteRange', { start, end: start }));
    assert.deepEqual(await world.rows({ start, end }), []);
    assert.deepEqual(await world.rows({ start, end: start }), []);
  },

  async 'a page of a delete range has a bound'(world) {
    const bounds = { start: world.key('a'), end: world.key('b') };
    await world.invalid(world.kv('DeleteRange', { ...bounds, max_keys: 1_001 }));
  },

  async 'incomplete requests are refused'(world) {
    const key = world.key('incomplete');
    await world.invalid(world.kv('CompareAndSet', {}));
    await world.invalid(world.kv('CompareAndSet', { condition: { key }, mutation: { key, value: v } }));
    await world.invalid(world.kv('AtomicBatch', { mutations: [{ key, expires_at_ms: 1 }] }));
  },

  async 'a batch over two ranges is refused with the key where they meet'(world) {
    // The fleet was cut before this key by the first check.
    const mutations = ['b', 'y'].map((name) => ({ key: world.key(`rows/${name}`), value: v }));
    const call = world.kv('AtomicBatch', { mutations });
    const rejection = await world.refused('FAILED_PRECONDITION', 'spans_ranges', call);
    assert.deepEqual(rejection.spans_ranges.split_key, world.rawKey('rows/m'));
    assert.deepEqual([await world.get('rows/b'), await world.get('rows/y')], [null, null]);
    // The condition counts too.
    const condition = { key: world.key('rows/b'), absent: true };
    const elsewhere = world.kv('CompareAndSet', { condition, mutation: mutations[1] });
    await world.refused('FAILED_PRECONDITION', 'spans_ranges', elsewhere);
    for (const mutation of mutations) await world.kv('AtomicBatch', { mutations: [mutation] });
  },

  async 'refusals that speak of the longest keys arrive'(world) {
    // Headers of more than 8 KiB are refused by many a gRPC library, and so any refusal that has as much to say.
    const wide = (last) => Buffer.concat([world.key('wide/'), Buffer.alloc(MAX_KEY, 0xff)]).fill(last, MAX_KEY - 1).subarray(0, MAX_KEY);
    const [left, cut, right] = ['a', 'm', 'z'].map(wide);
    const rawCut = Buffer.concat([Buffer.from([0, 0, 0, 1]), cut]);
    await world.admin('SplitRange', { key: rawCut });
    const mutations = [left, right].map((key) => ({ key, value: v }));
    const rejection = await world.refused('FAILED_PRECONDITION', 'spans_ranges', world.kv('AtomicBatch', { mutations }));
    // Too long for a refusal: it is looked up.
    assert.equal(rejection.spans_ranges.split_key.length, 0);
    await world.invalid(world.kv('AtomicBatch', { mutations: ['1', '2'].map((n) => ({ key: cut, value: Buffer.from(n) })) }));
    await world.refused('NOT_FOUND', null, world.admin('ListRanges', { keyspace: '\x7f'.repeat(100_000) }));
  },

  async 'keyspace 0 means the default one'(world) {
    await world.kv('Put', { keyspace: 0, key: world.key('zero'), value: v });
    assert.deepEqual((await world.kv('Get', { keyspace: 1, key: world.key('zero') })).value.value, v);
  },

  async 'a keyspace that was never used is empty'(world) {
    // The last one is the audit's.
    for (const keyspace of [77, 2 ** 32 - 2]) {
      assert.equal((await world.kv('Get', { keyspace, key: world.key('unknown') })).value, null);
      assert.deepEqual(await world.rows({ keyspace }), []);
    }
  },

  async 'reads below what is kept and far ahead are answered or refused for good'(world) {
    for (const at of ['1', (2n ** 64n - 1n).toString()]) {
      try {
        await world.kv('Get', { key: world.key('a'), at });
      } catch (error) {
        const { reason } = rejectionOf(world.definition, error);
        assert(['below_gc_threshold', 'invalid'].includes(reason), reason);
      }
    }
  },

  async 'a deadline that has passed ends a call'(world) {
    const call = world.once('kv', 'Get', { key: world.key('late') }, Date.now() - 1, 0);
    await assert.rejects(call, { code: grpc.status.DEADLINE_EXCEEDED });
  },

  async 'a message beyond the limit is refused and the connection lives'(world) {
    const call = world.kv('Put', { key: world.key('huge'), value: Buffer.alloc(9 << 20) });
    const codes = [grpc.status.OUT_OF_RANGE, grpc.status.RESOURCE_EXHAUSTED];
    await assert.rejects(call, (error) => codes.includes(error.code));
    assert.equal(await world.get('huge'), null);
  },

  async 'unknown calls are unimplemented'(world) {
    const same = (bytes) => bytes;
    const path = '/holdfast.v1.Kv/NoSuchCall';
    const call = new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      world.stubs.kv[0].makeUnaryRequest(path, same, same, Buffer.alloc(0), done);
    });
    await world.refused('UNIMPLEMENTED', null, call);
  },
};
