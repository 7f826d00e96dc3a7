'use strict';
// Admin: what operators see and change.

const assert = require('node:assert/strict');

// Where the keys of the other checks are cut, so that they lie in several ranges.
const CUTS = ['rows/m', 'scan/030', 'sweep/030'];
const NOBODY = (1n << 40n).toString();

async function listAll(world, limit = 1_000) {
  const [request, found] = [{ limit }, []];
  for (;;) {
    const page = await world.admin('ListRanges', request);
    found.push(...page.ranges);
    if (!page._resume) return found;
    request.resume = page.resume;
  }
}

async function rangeOf(world, name) {
  const { ranges } = await world.admin('ListRanges', { bounds: { start: world.rawKey(name) }, limit: 1 });
  return ranges[0];
}

module.exports = {
  async 'a range is split once at a key'(world) {
    for (const name of CUTS) {
      const key = world.rawKey(name);
      assert((await world.admin('SplitRange', { key })).changed);
      const again = await world.admin('SplitRange', { key });
      assert(!again.changed, 'a range begins there already: a success, and no change');
      assert.deepEqual((await rangeOf(world, name)).descriptor.bounds.start, key);
    }
  },

  async 'splits that make no sense are refused'(world) {
    await world.invalid(world.admin('SplitRange'));
    await world.invalid(world.admin('SplitRange', { key: Buffer.from([0, 0]) }));
    const stale = { key: world.rawKey('rows/n'), expected_epoch: { membership: 0, bounds: NOBODY } };
    await world.refused('FAILED_PRECONDITION', null, world.admin('SplitRange', stale));
  },

  async 'sites and stores are listed'(world) {
    const { sites, now, fleet } = await world.admin('ListSites');
    assert(sites.length >= 3 && now !== '0' && fleet);
    for (const site of sites) assert(site.name && site.alive === site.stores && Number(site.replicas) > 0);
    const { stores, silent } = await world.admin('ListStores');
    assert.deepEqual(silent, []);
    for (const store of stores) assert(store.alive && store.version && store.site && store.http_address);
    const addresses = stores.map((store) => store.client_address);
    assert(world.addresses.every((address) => addresses.includes(address)), String(addresses));
    const own = await Promise.all(
      world.addresses.map((_, store) => world.admin('ListStores', { only_this_store: true }, { store })),
    );
    assert.equal(new Set(own.map((answer) => answer.stores[0].store_id)).size, world.addresses.length);
  },

  async 'ranges are listed by interval, keyspace and id'(world) {
    const all = await listAll(world);
    const ids = all.map((found) => found.descriptor.range_id);
    assert.deepEqual((await listAll(world, 2)).map((found) => found.descriptor.range_id), ids);
    for (const found of all) {
      assert(found.leader_store !== '0' && found.leader_site && found.descriptor.replicas.length >= 3);
    }
    const { ranges } = await world.admin('ListRanges', { keyspace: 'default', limit: 1_000 });
    const starts = ranges.map((found) => found.descriptor.bounds.start.toString('hex'));
    assert(starts.includes(world.rawKey('rows/m').toString('hex')));
    const one = await world.admin('ListRanges', { range_id: ids.at(-1) });
    assert.deepEqual(one.ranges.map((found) => found.descriptor.range_id), [ids.at(-1)]);
    await world.refused('NOT_FOUND', null, world.admin('ListRanges', { keyspace: 'no_such_keyspace' }));
  },

  async 'events are listed, the newest first'(world) {
    const { events } = await world.admin('ListEvents', { limit: 1_000 });
    const times = events.map((event) => BigInt(event.at));
    assert(times.length > 0 && times.every((time, i) => i === 0 || time <= times[i - 1]));
    assert(events.every((event) => event.message && event.site && event.store_id !== '0'));
    assert(events.some((event) => event.kind === 'EVENT_KIND_RANGE_SPLIT'));
    const few = await world.admin('ListEvents', { limit: 1 });
    assert.deepEqual([few.events.length, few.more], [1, true]);
  },

  async 'settings are listed of any store'(world) {
    const { stores } = await world.admin('ListStores');
    for (const { store_id, site } of stores) {
      const answer = await world.admin('ListSettings', { store_id });
      assert.deepEqual([answer.store_id, answer.site], [store_id, site]);
      const names = answer.settings.map((setting) => setting.name);
      assert(names.includes('site') && names.includes('listen'), String(names));
    }
    await world.refused('NOT_FOUND', null, world.admin('ListSettings', { store_id: 2 ** 20 }));
  },

  async 'a keyspace is created once and written under its id'(world) {
    const name = `node_${world.run}`;
    const { keyspace } = await world.admin('CreateKeyspace', { name });
    assert(keyspace.name === name && keyspace.id > 255 && keyspace.writable);
    await world.refused('ALREADY_EXISTS', null, world.admin('CreateKeyspace', { name }));
    const { keyspaces } = await world.admin('ListKeyspaces');
    const ids = Object.fromEntries(keyspaces.map((listed) => [listed.name, listed.id]));
    assert.deepEqual([ids[name], ids.default, ids.system], [keyspace.id, 1, 0]);
    await world.kv('Put', { keyspace: keyspace.id, key: world.key('in it'), value: Buffer.from('v') });
    for (const bad of ['', 'Upper', '1st', 'a'.repeat(64)]) {
      await assert.rejects(world.admin('CreateKeyspace', { name: bad }), { code: 3 }, bad);
    }
  },

  async 'leaders are handed to another site and back'(world) {
    const before = await rangeOf(world, 'rows/m');
    const { range_id, replicas } = before.descriptor;
    const other = replicas.find((replica) => replica.store_id !== before.leader_store);
    const transfer = (to) => world.admin('TransferLeader', { range_id, ...to });
    assert.equal((await transfer({ site: other.site })).range.leader_site, other.site);
    assert(!(await transfer({ site: other.site })).changed, 'it is led from there already');
    await world.put('rows/x', 'still served');
    const back = await transfer({ store_id: before.leader_store });
    assert.equal(back.range.leader_store, before.leader_store);
    await world.refused('FAILED_PRECONDITION', null, transfer({ site: 'no-such-site' }));
    const unknown = world.admin('TransferLeader', { range_id: NOBODY, site: other.site });
    await world.refused('NOT_FOUND', null, unknown);
  },

  async 'changes of replicas are guarded'(world) {
    const { descriptor } = await rangeOf(world, 'rows/m');
    const { range_id } = descriptor;
    const reconfigure = { demote: descriptor.replicas.map((replica) => replica.replica_id) };
    const change = (request) => world.admin('ChangeReplicas', { reconfigure, ...request });
    await world.refused('NOT_FOUND', null, change({ range_id: NOBODY }));
    const stale = { range_id, expected_epoch: { membership: NOBODY, bounds: 1 } };
    await world.refused('FAILED_PRECONDITION', null, change(stale));
    await world.refused('INVALID_ARGUMENT', 'invalid', change({ range_id }));
    assert.deepEqual((await rangeOf(world, 'rows/m')).descriptor, descriptor);
  },
};
