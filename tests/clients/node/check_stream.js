'use strict';
// Kv.Stream: many calls at a time, in raw keys.

const assert = require('node:assert/strict');
const { once } = require('node:events');

const grpc = require('@grpc/grpc-js');

const PATIENCE_MS = 60_000;
const AGAIN_AFTER_MS = 25;
const v = Buffer.from('v');

/** One stream. Answers are kept by call id. */
class Stream {
  constructor(world, { hello = {}, store = 0 } = {}) {
    this.answers = new Map();
    this.sent = new Map();
    this.saidAll = false;
    this.times = [];
    this.first = null;
    this.twice = [];
    this.error = null;
    this.wake = () => {};
    this.calls = world.stubs.kv[store].Stream({ deadline: Date.now() + PATIENCE_MS });
    this.calls.on('data', (message) => {
      this.first ??= message;
      this.times.push(message.now);
      for (const { call_id: id, response } of message.answers) {
        if (this.answers.has(id)) this.twice.push(id);
        if (response.rejected?.not_leader && !this.saidAll) {
          // On a stream this is for the client: nothing was done, and somebody else leads.
          setTimeout(() => this.send([this.sent.get(id)]), AGAIN_AFTER_MS);
        } else {
          this.answers.set(id, response);
        }
      }
      this.wake();
    });
    this.calls.on('error', (error) => {
      this.error = error;
      this.wake();
    });
    this.calls.write({ hello });
  }

  send(calls, cancel = []) {
    for (const one of calls) this.sent.set(String(one.call_id), one);
    this.calls.write({ calls, cancel });
  }

  async until(isSo) {
    while (!isSo()) {
      if (this.error) throw this.error;
      await new Promise((resolve) => (this.wake = resolve));
    }
  }

  /** The answers to these calls, in this order. */
  async wait(ids) {
    const wanted = ids.map(String);
    await this.until(() => wanted.every((id) => this.answers.has(id)));
    assert.deepEqual(this.twice, [], 'a call is answered once');
    return wanted.map((id) => this.answers.get(id));
  }

  /** Says that no calls will follow, and reads to the end. */
  async close() {
    this.saidAll = true;
    const ended = once(this.calls, 'end');
    this.calls.end();
    await ended;
  }
}

const call = (call_id, request) => ({ call_id, request });
const read = (...keys) => ({ get: { keys } });
const change = (mutations, conditions = []) => ({ change: { mutations, conditions } });
const upTo = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i);

module.exports = {
  async 'a stream begins with the store and what it knows'(world) {
    const { fleet, store_id } = await world.fleet('Describe');
    const stream = new Stream(world, { hello: { fleet } });
    await stream.until(() => stream.first);
    assert.equal(stream.first.store_id, store_id);
    assert(BigInt(stream.first.now) > 0n && stream.first.notices.length > 0);
    assert(stream.first.notices.every((notice) => notice.descriptor.range_id !== '0'));
    await stream.close();
  },

  async 'a stream to another fleet is refused'(world) {
    const stream = new Stream(world, { hello: { fleet: { high: 1, low: 2 } } });
    stream.send([call(1, read(world.rawKey('x')))]);
    await assert.rejects(stream.wait([1]), { code: grpc.status.FAILED_PRECONDITION });
  },

  async 'many calls of all kinds are answered, each by its id'(world) {
    const stream = new Stream(world);
    const keys = upTo(200).map((i) => world.rawKey(`stream/${String(i).padStart(3, '0')}`));
    const put = (i) => call(i, change([{ key: keys[i], value: Buffer.from(String(i)) }]));
    stream.send(upTo(100).map(put));
    stream.send(upTo(100, 100).map(put));
    const written = await stream.wait(upTo(200));
    assert(written.every((answer) => BigInt(answer.written.timestamp) > 0n));
    const bounds = { start: keys[0], end: Buffer.concat([keys[199], Buffer.from([0])]) };
    const reads = upTo(200).map((i) => call(1_000 + i, read(keys[i])));
    const scan = call(2_000, { scan: { bounds, max_rows: 10, max_bytes: 1 << 20 } });
    stream.send([...reads.reverse(), scan]);
    const found = await stream.wait(upTo(200, 1_000));
    assert.deepEqual(found.map((answer) => answer.got.values[0].value.value.toString()), upTo(200).map(String));
    const [page] = await stream.wait([2_000]);
    assert.deepEqual(page.scanned.rows.map((row) => row.key), keys.slice(0, 10));
    assert(Buffer.compare(page.scanned.resume, keys[9]) > 0 && BigInt(page.scanned.at) > 0n);
    stream.send([call(3_000, { delete_range: { bounds, max_keys: 1_000 } })]);
    assert.equal((await stream.wait([3_000]))[0].range_deleted.deleted, 200);
    assert(stream.times.every((now) => BigInt(now) > 0n), 'every message tells fleet time');
    await stream.close();
  },

  async 'conditions and refusals are answers, and the stream goes on'(world) {
    const stream = new Stream(world);
    const key = world.rawKey('stream/condition');
    const guarded = change([{ key, value: v }], [{ key, absent: true }]);
    stream.send([call(1, guarded)]);
    assert(BigInt((await stream.wait([1]))[0].written.timestamp) > 0n);
    const spanning = ['b', 'y'].map((name) => ({ key: world.rawKey(`rows/${name}`), value: v }));
    stream.send([
      call(2, guarded),
      call(3, change(spanning)),
      call(4, read()),
      call(5, read(Buffer.from([0, 0]))),
      call(6, {}),
      { call_id: 7 },
    ]);
    const [failed, spans, ...broken] = await stream.wait(upTo(6, 2));
    assert.deepEqual([failed.condition_failed.index, failed.condition_failed.actual.value], [0, v]);
    assert.deepEqual(spans.rejected.spans_ranges.split_key, world.rawKey('rows/m'));
    for (const answer of broken) assert.equal(answer.rejected.reason, 'invalid');
    await stream.close();
  },

  async 'an answer that would be too large is refused, and the stream goes on'(world) {
    const keys = upTo(8).map((i) => world.rawKey(`heavy/${i}`));
    for (let store = 0; store < world.addresses.length; store++) {
      const stream = new Stream(world, { store });
      stream.send([call(1, read(...keys)), call(2, read(keys[0]))]);
      const [heavy, light] = await stream.wait([1, 2]);
      assert.deepEqual([heavy.rejected.reason, light.got.values.length], ['invalid', 1]);
      await stream.close();
    }
  },

  async "a range that is not the key's is refused with what the store knows"(world) {
    const key = world.rawKey('rows/b');
    const { ranges } = await world.fleet('Locate', { bounds: { start: key }, limit: 1 });
    const [{ descriptor, leader }] = ranges;
    const stream = new Stream(world, { store: world.addresses.indexOf(leader.address) });
    const named = { range_id: descriptor.range_id, epoch: descriptor.epoch };
    stream.send([call(1, { ...named, ...read(key) }), call(2, { ...named, ...read(world.rawKey('rows/y')) })]);
    const [found, wrong] = await stream.wait([1, 2]);
    assert.equal(found.got.values.length, 1);
    assert.equal(wrong.rejected.reason, 'wrong_range');
    const known = wrong.rejected.wrong_range.known.map((other) => other.range_id);
    assert(known.includes(descriptor.range_id), String(known));
    await stream.close();
  },

  async 'the system keyspace cannot be written'(world) {
    const stream = new Stream(world);
    const bounds = { start: Buffer.from([0, 0, 0, 0]), end: Buffer.from([0, 0, 0, 1]) };
    const put = change([{ key: Buffer.from([0, 0, 0, 0, 120]), value: v }]);
    stream.send([call(1, put), call(2, { delete_range: { bounds, max_keys: 1 } })]);
    for (const answer of await stream.wait([1, 2])) assert.equal(answer.rejected.reason, 'forbidden');
    await stream.close();
  },

  async 'cancelled calls leave the stream and the other calls alone'(world) {
    const stream = new Stream(world);
    const write = await world.attempt(world.slot(), 1, 1);
    const put = change([{ key: world.rawKey('cancelled'), value: v }]);
    const reads = upTo(48, 2).map((i) => call(i, read(world.rawKey('stream/none'))));
    stream.send([call(1, { write, ...put }), ...reads], [1, 3, 5, 7, 999_999]);
    await stream.wait([2, 4, 6, ...upTo(42, 8)]);
    // The cancelled write was applied, or was not: its next attempt settles it.
    stream.send([call(100, { write: { ...write, attempt: 2 }, ...put })]);
    assert(BigInt((await stream.wait([100]))[0].written.timestamp) > 0n);
    assert.equal(await world.versions('cancelled'), 1);
    await stream.close();
  },

  async 'open calls are answered after the client has said all'(world) {
    const stream = new Stream(world);
    stream.send(upTo(500).map((i) => call(i, read(world.rawKey('stream/none')))));
    await stream.close();
    await stream.wait(upTo(500));
  },
};
