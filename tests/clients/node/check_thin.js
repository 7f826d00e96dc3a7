'use strict';
// The thin client that is there to be copied.

const assert = require('node:assert/strict');

const { text } = require('./checks');
const { Client, OutOfTime, Refused } = require('./thin_client');

function client(world, addresses = world.addresses, deadlineMs = 20_000) {
  return new Client(addresses, { protos: world.protos, deadlineMs });
}

const after = (key) => Buffer.concat([key, Buffer.from([0])]);

async function collect(rows) {
  const found = [];
  for await (const row of rows) found.push(row);
  return found;
}

module.exports = {
  async 'the thin client does every operation'(world) {
    const thin = client(world);
    const keys = ['thin-b', 'thin-x'].map((name) => world.key(`rows/${name}`));
    const versions = [await thin.put(keys[0], keys[0]), await thin.put(keys[1], keys[1])];
    assert.equal(BigInt((await thin.get(keys[1])).timestamp), versions[1]);
    assert.deepEqual((await thin.batchGet(keys)).map((found) => found.value), keys);
    const ours = (rows) => text(rows).filter((key) => key.includes('thin-'));
    assert.deepEqual(ours(await collect(thin.scan(keys[0], after(keys[1])))), keys.map(String));
    const backwards = await collect(thin.scan(keys[0], after(keys[1]), { reverse: true }));
    assert.deepEqual(ours(backwards), keys.map(String).reverse());
    const condition = { key: keys[0], version: versions[0].toString() };
    const mutation = { key: keys[0], value: Buffer.from('new') };
    assert.equal((await thin.compareAndSet(condition, mutation)).outcome, 'written');
    assert.equal((await thin.compareAndSet(condition, mutation)).outcome, 'condition_failed');
    await thin.delete(keys[0]);
    assert.equal(await thin.get(keys[0]), null);
    assert.equal(await thin.deleteRange(keys[1], after(keys[1])), 1);
    thin.close();
  },

  async 'the thin client tells refusals from failures'(world) {
    const thin = client(world);
    const v = Buffer.from('v');
    const mutations = ['b', 'y'].map((name) => ({ key: world.key(`rows/${name}`), value: v }));
    const refused = (reason) => (error) => error instanceof Refused && error.reason === reason;
    await assert.rejects(thin.put(Buffer.alloc(0), v), refused('invalid'));
    await assert.rejects(thin.atomicBatch(mutations), refused('spans_ranges'));
    thin.close();
  },

  async 'the thin client goes on when a store does not answer'(world) {
    // The first address is nobody's: a port below those that programs get.
    const thin = client(world, ['127.0.0.1:9', ...world.addresses]);
    thin.first = 0;
    await thin.put(world.key('elsewhere'), Buffer.from('v'));
    assert.equal(await world.versions('elsewhere'), 1);
    thin.close();
  },

  async 'the thin client gives up at its deadline'(world) {
    const thin = client(world, ['127.0.0.1:9'], 500);
    await assert.rejects(thin.get(world.key('nowhere')), OutOfTime);
    thin.close();
  },

  async 'counters of many writers lose nothing'(world) {
    const [thin, key, writers, each] = [client(world), world.key('counter'), 8, 25];
    await thin.put(key, Buffer.from('0'));
    const count = async () => {
      for (let done = 0; done < each; ) {
        const found = await thin.get(key);
        const value = Buffer.from(String(Number(found.value.toString()) + 1));
        const answer = await thin.compareAndSet({ key, version: found.timestamp }, { key, value });
        if (answer.outcome === 'written') done += 1;
      }
    };
    await Promise.all(Array.from({ length: writers }, count));
    assert.equal((await thin.get(key)).value.toString(), String(writers * each));
    assert.equal(await world.versions('counter'), 1 + writers * each);
    thin.close();
  },
};
